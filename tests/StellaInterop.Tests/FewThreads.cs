using System.Globalization;
using StellaInterop.Interop;
using StellaInterop.Serving;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>
/// A program at the system's limit on threads: it takes all threads that there are, gives back a few at a time, and calls a pool
/// over the real library meanwhile. Every call has to be answered or refused by type, and nothing may stay at the end.
/// </summary>
internal static class FewThreads
{
    /// <summary>Runs this. Argument: the folder of a model.</summary>
    public const string Command = "few-threads";

    /// <summary>A call ended in a way that is not documented.</summary>
    public const int Untyped = 11;

    /// <summary>A call, a load or a dispose did not end.</summary>
    public const int Hung = 12;

    /// <summary>Something native was left.</summary>
    public const int Left = 13;

    /// <summary>The pool did not serve although there were threads.</summary>
    public const int NotServed = 14;

    /// <summary>Threads of the runtime's own pool.</summary>
    private const int RuntimeThreads = 6;

    /// <summary>One forward in so many panics.</summary>
    private const int OneInPanics = 4;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>Writes how many calls were answered, how many were refused for want of a thread, and how many failed by a panic.</summary>
    public static int Run(string folder)
    {
        TakeRuntimeThreads();
        using (StellaModel.Load(folder, new StellaModelOptions { Threads = 1 }))
        {
        }

        var counts = new Counts();
        var hogs = new Hogs();
        int exit = 0;
        foreach (bool panics in new[] { false, true })
        {
            var source = new PanickingSource(new StellaModelSource(folder, new StellaModelOptions { Threads = 2 }), panics ? OneInPanics : 0);
            var pool = new StellaEmbeddingPool(source, new StellaPoolOptions
            {
                Model = new StellaModelOptions { Threads = 2 },
                MinWorkers = 2,
                MaxWorkers = 3,
                CircuitBreaker = new() { FailureThreshold = int.MaxValue, ReplacementThreshold = int.MaxValue },
            });
            hogs.TakeAll();
            for (int free = 0; free <= 10 && exit == 0; free++)
            {
                exit = Call(pool, counts, calls: 6);
                hogs.GiveBack(1);
            }

            // Threads go while the pool works, so that successors of broken workers are refused, and come back.
            for (int round = 0; round < 3 && exit == 0; round++)
            {
                hogs.TakeAll();
                exit = Call(pool, counts, calls: 20);
                hogs.GiveBack(int.MaxValue);
                exit = exit == 0 ? Call(pool, counts, calls: 20) : exit;
            }

            // One after the other, so that a forward that panics has one text and costs its call.
            for (int call = 0; call < 2 * OneInPanics && exit == 0; call++)
            {
                exit = Call(pool, counts, calls: 1);
            }

            exit = exit == 0 ? Serve(pool, counts) : exit;
            hogs.TakeAll();
            if (exit == 0 && !Task.Run(pool.Dispose).Wait(Patience))
            {
                return Hung;
            }

            hogs.GiveBack(int.MaxValue);
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{counts.Answered} {counts.Refused} {counts.Panicked}"));
        int left = Enum.GetValues<NativeHandleKind>().Sum(kind => (int)NativeMethods.stella_live_handles((uint)kind));
        return exit != 0 ? exit : left == 0 ? 0 : Left;
    }

    /// <summary>
    /// The runtime takes its own threads now and no more later: it ends the process when it is refused a thread for its pool or
    /// for its timers.
    /// </summary>
    private static void TakeRuntimeThreads()
    {
        if (!ThreadPool.SetMinThreads(RuntimeThreads, RuntimeThreads) || !ThreadPool.SetMaxThreads(RuntimeThreads, RuntimeThreads))
        {
            throw new InvalidOperationException("the runtime's pool keeps its size");
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
                _ = call.WaitAsync(Patience).GetAwaiter().GetResult();
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
#pragma warning disable CA1031 // Whatever it is, the exit code tells of it.
            catch (Exception e)
#pragma warning restore CA1031
            {
                Console.Error.WriteLine(e);
                return Untyped;
            }
        }

        return 0;
    }

    /// <summary>With all threads back, a call is answered within the time in which the pool tries again.</summary>
    private static int Serve(StellaEmbeddingPool pool, Counts counts)
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

    /// <summary>Threads that do nothing, as many as the system gives.</summary>
    private sealed class Hogs
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

        public void GiveBack(int count)
        {
            for (; count > 0 && threads.TryPop(out var hog); count--)
            {
                hog.End.Set();
                hog.Thread.Join();
                hog.End.Dispose();
            }
        }
    }

    /// <summary>The real model, of which one forward in so many loses its session.</summary>
    private sealed class PanickingSource(IPoolModelSource inner, int oneIn) : IPoolModelSource
    {
        private int forwards;

        public string Name => inner.Name;

        public StellaMemoryEstimate Estimate(int threads, int batchTokens) => inner.Estimate(threads, batchTokens);

        public IPoolModel Load() => new Model(this, inner.Load());

        private void ThrowNowAndThen()
        {
            if (oneIn > 0 && Interlocked.Increment(ref forwards) % oneIn == 0)
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
                owner.ThrowNowAndThen();
                session.Embed(batch, kind, cancelFlag, rows);
            }

            public void Dispose() => session.Dispose();
        }
    }
}
