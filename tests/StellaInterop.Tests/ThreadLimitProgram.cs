using System.Globalization;
using StellaInterop.Interop;
using StellaInterop.Serving;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>
/// A program at the system's limit on threads. It takes all available threads, releases a few at a time, and meanwhile calls a pool
/// with the real library. Every call must be answered or fail with a typed error, and no native handle may be left at the end.
/// </summary>
internal static class ThreadLimitProgram
{
    /// <summary>The command that runs this program. Its argument is the folder of a model.</summary>
    public const string Command = "thread-limit";

    /// <summary>The exit code for a call that failed with an undocumented error.</summary>
    public const int Untyped = 11;

    /// <summary>The exit code for a call, a load or a disposal that did not end.</summary>
    public const int Hung = 12;

    /// <summary>The exit code for native handles that are left at the end.</summary>
    public const int HandlesLeft = 13;

    /// <summary>The exit code for a pool that answered no call although threads were available.</summary>
    public const int NotServed = 14;

    /// <summary>The size of the .NET thread pool.</summary>
    private const int RuntimeThreads = 6;

    /// <summary>Every this many forward passes, one panics.</summary>
    private const int PanicInterval = 4;

    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(60);

    /// <summary>Runs the program and prints the numbers of calls that were answered, refused for lack of a thread, and failed by a panic.</summary>
    public static int Run(string folder)
    {
        TakeRuntimeThreads();
        using (StellaModel.Load(folder, new StellaModelOptions { Threads = 1 }))
        {
        }

        var counts = new Counts();
        var consumer = new ThreadConsumer();
        int exit = 0;
        foreach (bool panics in new[] { false, true })
        {
            var source = new PanickingSource(new StellaModelSource(folder, new StellaModelOptions { Threads = 2 }), panics ? PanicInterval : 0);
            var pool = new StellaEmbeddingPool(source, new StellaPoolOptions
            {
                Model = new StellaModelOptions { Threads = 2 },
                MinWorkers = 2,
                MaxWorkers = 3,
                CircuitBreaker = new() { FailureThreshold = int.MaxValue, ReplacementThreshold = int.MaxValue },
            });
            consumer.TakeAll();
            for (int free = 0; free <= 10 && exit == 0; free++)
            {
                exit = Call(pool, counts, calls: 6);
                consumer.Release(1);
            }

            // Takes the threads while the pool works, so that replacements of broken workers are refused, and then releases them.
            for (int round = 0; round < 3 && exit == 0; round++)
            {
                consumer.TakeAll();
                exit = Call(pool, counts, calls: 20);
                consumer.Release(int.MaxValue);
                exit = exit == 0 ? Call(pool, counts, calls: 20) : exit;
            }

            // One call at a time: a forward pass that panics then has one text and fails its call.
            for (int call = 0; call < 2 * PanicInterval && exit == 0; call++)
            {
                exit = Call(pool, counts, calls: 1);
            }

            exit = exit == 0 ? CallUntilAnswered(pool, counts) : exit;
            consumer.TakeAll();
            if (exit == 0 && !Task.Run(pool.Dispose).Wait(Timeout))
            {
                return Hung;
            }

            consumer.Release(int.MaxValue);
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{counts.Answered} {counts.Refused} {counts.Panicked}"));
        int left = Enum.GetValues<NativeHandleKind>().Sum(kind => (int)NativeMethods.stella_live_handles((uint)kind));
        return exit != 0 ? exit : left == 0 ? 0 : HandlesLeft;
    }

    /// <summary>
    /// Makes the runtime start all its threads now. It would end the process if the system refused it a thread for its pool or
    /// its timers later.
    /// </summary>
    private static void TakeRuntimeThreads()
    {
        if (!ThreadPool.SetMinThreads(RuntimeThreads, RuntimeThreads) || !ThreadPool.SetMaxThreads(RuntimeThreads, RuntimeThreads))
        {
            throw new InvalidOperationException("could not set the size of the thread pool");
        }

        using var all = new Barrier(RuntimeThreads);
        Task.WhenAll(Enumerable.Range(0, RuntimeThreads).Select(_ => Task.Run(all.SignalAndWait))).Wait();
        Task.Delay(1).Wait();
    }

    private static int Call(StellaEmbeddingPool pool, Counts counts, int calls)
    {
        Task<float[]>[] all = [.. Enumerable.Range(0, calls).Select(i => pool.EmbedAsync($"river {i}"))];
        foreach (Task<float[]> call in all)
        {
            try
            {
                _ = call.WaitAsync(Timeout).GetAwaiter().GetResult();
                counts.Answered++;
            }
            catch (StellaException e) when (e.Code == StellaErrorCode.ThreadRefused)
            {
                counts.Refused++;
            }
            catch (StellaException e) when (e.Code == StellaErrorCode.Panic && e is StellaInputException)
            {
                counts.Panicked++;
            }
            catch (TimeoutException)
            {
                return Hung;
            }
#pragma warning disable CA1031 // The exit code reports any other error.
            catch (Exception e)
#pragma warning restore CA1031
            {
                Console.Error.WriteLine(e);
                return Untyped;
            }
        }

        return 0;
    }

    /// <summary>Repeats a call, with all threads available, until the pool has started its threads again and answers.</summary>
    private static int CallUntilAnswered(StellaEmbeddingPool pool, Counts counts)
    {
        int before = counts.Answered;
        for (int i = 0; i < 60 && counts.Answered == before; i++)
        {
            if (Call(pool, counts, calls: 1) is not 0 and var exit)
            {
                return exit;
            }
        }

        return counts.Answered > before ? 0 : NotServed;
    }

    private sealed class Counts
    {
        public int Answered { get; set; }

        public int Refused { get; set; }

        public int Panicked { get; set; }
    }

    /// <summary>Holds idle threads, up to as many as the system allows.</summary>
    private sealed class ThreadConsumer
    {
        private readonly Stack<(Thread Thread, ManualResetEventSlim End)> threads = [];

        public void TakeAll()
        {
            while (true)
            {
                var end = new ManualResetEventSlim();
                var thread = new Thread(end.Wait, maxStackSize: 128 << 10) { IsBackground = true };
                try
                {
                    thread.Start();
                    threads.Push((thread, end));
                }
                catch (Exception e) when (e is OutOfMemoryException or ThreadStartException)
                {
                    end.Dispose();
                    return;
                }
            }
        }

        public void Release(int count)
        {
            for (; count > 0 && threads.TryPop(out var taken); count--)
            {
                taken.End.Set();
                taken.Thread.Join();
                taken.End.Dispose();
            }
        }
    }

    /// <summary>Wraps the real model so that one in <paramref name="interval"/> forward passes panics.</summary>
    private sealed class PanickingSource(IPoolModelSource inner, int interval) : IPoolModelSource
    {
        private int forwards;

        public string Name => inner.Name;

        public StellaMemoryEstimate Estimate(int threads, int batchTokens) => inner.Estimate(threads, batchTokens);

        public IPoolModel Load() => new Model(this, inner.Load());

        private void PanicAtInterval()
        {
            if (interval > 0 && Interlocked.Increment(ref forwards) % interval == 0)
            {
                throw new StellaException(StellaErrorCode.Panic, "made by a test");
            }
        }

        private sealed class Model(PanickingSource owner, IPoolModel model) : IPoolModel
        {
            public StellaModelInfo Info => model.Info;

            public void Tokenize(ReadOnlySpan<string> texts, int firstText, StellaEmbedOptions options, Span<TokenizedText> tokens) =>
                model.Tokenize(texts, firstText, options, tokens);

            public string GetFingerprint(int? dimension) => model.GetFingerprint(dimension);

            public IPoolSession StartSession(int threads, int batchTokens) => new Session(owner, model.StartSession(threads, batchTokens));

            public void Dispose() => model.Dispose();
        }

        private sealed class Session(PanickingSource owner, IPoolSession session) : IPoolSession
        {
            public void Embed(TokenBatch batch, VectorKind kind, uint[] cancelFlag, Span<float> rows)
            {
                owner.PanicAtInterval();
                session.Embed(batch, kind, cancelFlag, rows);
            }

            public void Dispose() => session.Dispose();
        }
    }
}
