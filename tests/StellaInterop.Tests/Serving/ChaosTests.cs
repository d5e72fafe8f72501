using CsCheck;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>Random faults, cancellations, reloads and disposal at the same time.</summary>
internal sealed class ChaosTests
{
    /// <summary>Every wait of a thread is a request to a server process under Wine, so the full number takes more than 5 minutes there.</summary>
    private static readonly int Runs = Wine.IsPresent ? 4 : 40;

    [Test]
    public void Every_call_has_one_answer_under_random_faults_cancellations_and_disposal() =>
        Gen.Int[0, int.MaxValue].Sample(seed => RunAsync(seed).GetAwaiter().GetResult(), iter: Runs, threads: 2);

    private static async Task RunAsync(int seed)
    {
        var random = new PCG((uint)seed);
        int next(int below)
        {
            lock (random)
            {
                return (int)(random.Next() % below);
            }
        }

        var model = new FakeModel();
        model.OnForward = batch =>
        {
            if (next(20) == 0)
            {
                throw new StellaException(next(2) == 0 ? StellaErrorCode.Panic : StellaErrorCode.ForwardFailed, "A random fault.");
            }

            if (next(20) == 0)
            {
                throw new StellaInputException(StellaErrorCode.ResultZero, "A random fault.", next(batch.Texts.Length));
            }

            Thread.SpinWait(next(20_000));
            if (batch.IsCancelled)
            {
                throw new OperationCanceledException("The forward pass was cancelled.");
            }
        };
        model.OnLoad = () =>
        {
            if (next(4) == 0)
            {
                throw new StellaModelFolderException(StellaErrorCode.ModelFileMissing, "A random fault.");
            }
        };
        model.OnSession = _ =>
        {
            if (next(10) == 0)
            {
                throw new StellaException(StellaErrorCode.OutOfMemory, "A random fault.");
            }
        };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with
        {
            MinWorkers = next(2),
            MaxWorkers = 3,
            MaxQueuedCalls = 8,
            MaxQueuedTokens = 1200,
            MaxCacheBytes = next(2) * 5000,
            IdleTimeout = TimeSpan.FromMilliseconds(1 + next(5)),
            CircuitBreaker = new() { BreakDuration = TimeSpan.FromMilliseconds(1 + next(20)) },
        });
        int answers = 0;
        using var done = new CancellationTokenSource();
        Task watching = Task.Run(() =>
        {
            while (!done.IsCancellationRequested)
            {
                StellaPoolHealth health = pool.GetHealth();
                Assert.That(health.QueueFill, Is.InRange(0.0, 1.0));
                Assert.That(health.BusyWorkerCount, Is.InRange(0, 100));
            }
        });
        Task[] callers = [.. Enumerable.Range(0, 12).Select(caller => Task.Run(async () =>
        {
            for (int i = 0; i < 30; i++)
            {
                await CallAsync(pool, caller, next);
                Interlocked.Increment(ref answers);
            }
        }))];
        Task? disposal = next(2) == 0 ? Task.Run(async () =>
        {
            while (Volatile.Read(ref answers) < 150)
            {
                await Task.Delay(1);
            }

            await (next(2) == 0 ? pool.DisposeAsync().AsTask() : Task.Run(pool.Dispose));
        }) : null;
        await Task.WhenAll(callers).WaitAsync(Eventually.Timeout);
        await (disposal ?? Task.CompletedTask).WaitAsync(Eventually.Timeout);
        Assert.That(answers, Is.EqualTo(12 * 30));
        await done.CancelAsync();
        await watching;
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    private static async Task CallAsync(StellaEmbeddingPool pool, int caller, Func<int, int> next)
    {
        string[] texts =
            [.. Enumerable.Range(0, 1 + (next(4) == 0 ? next(40) : next(3))).Select(_ => new string((char)('a' + next(5)), next(120)))];
        bool report = next(2) == 0;
        using var cancel = new CancellationTokenSource();
        if (next(4) == 0)
        {
            cancel.CancelAfter(TimeSpan.FromMilliseconds(next(5)));
        }

        var options = new StellaCallOptions
        {
            Priority = (StellaPriority)next(2),
            QueueFullMode = (StellaQueueFullMode)next(2),
            Timeout = next(4) == 0 ? TimeSpan.FromMilliseconds(1 + next(5)) : TimeSpan.FromMinutes(1),
            TextFailureMode = report ? StellaTextFailureMode.Report : StellaTextFailureMode.FailCall,
        };
        int dimension = next(2) == 0 ? FakeModel.DefaultDimension : FakeModel.OtherDimension;
        try
        {
            StellaEmbeddings found = await pool.EmbedAsync(
                texts, new StellaEmbedOptions { Dimension = dimension }, options, cancel.Token);
            HashSet<int> failed = [.. found.Summary.Failures.Select(failure => failure.TextIndex)];
            for (int i = 0; i < texts.Length; i++)
            {
                string used = texts[i][..Math.Min(texts[i].Length, TestPool.MaxTokens - 1)];
                float[] expected = failed.Contains(i) ? new float[dimension] : FakeModel.Vector(used, dimension: dimension);
                Assert.That(found[i].Span.SequenceEqual(expected), $"caller {caller}, text {i}");
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
        }
        catch (StellaException e)
        {
            Assert.That(
                e is StellaPoolException or StellaInputException or StellaModelFolderException || e.Code == StellaErrorCode.OutOfMemory,
                $"the test caused no such error: {e}");
        }
    }
}
