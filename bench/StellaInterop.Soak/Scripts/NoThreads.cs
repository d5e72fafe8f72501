using System.Globalization;
using StellaInterop.Soak.Memory;

namespace StellaInterop.Soak.Scripts;

/// <summary>The system refuses threads at random moments and for stretches of time, while panics make successors necessary.</summary>
internal sealed class NoThreads : IScript
{
    private const int ClockFactor = 10;
    private const int Workers = 3;
    private const int Callers = 12;

    /// <summary>Callers whose texts make the pool grow, and the texts of each call.</summary>
    private const int LargeCallers = 6;
    private const int LargeTexts = 200;

    private static readonly TimeSpan LeastRound = TimeSpan.FromSeconds(1);

    /// <summary>The pool's longest pause before it tries again is 60 s by its own clock.</summary>
    private static readonly TimeSpan Recovery = TimeSpan.FromSeconds(15);

    private enum Refusal
    {
        Stretch,
        ByChance,
        FromTheBeginning,
        OneThread,
    }

    public async Task RunAsync(Stage stage)
    {
        stage.Books.ClockFactor = ClockFactor;
        int refused = 0;
        int grown = 0;
        await stage.RoundsAsync(LeastRound, async (round, until) =>
        {
            var threads = new ThreadGate(stage.Seed + round, stage.Defect.LosesThreads && round == 0);
            FaultyModel source = stage.Model(new Faults { PanicOneIn = 20 });
            var pool = new StellaEmbeddingPool(source, stage.Options() with
            {
                StartThread = threads.Start,
                TimeProvider = new FastClock(ClockFactor),
                MaxWorkers = Workers,
                CircuitBreaker = new() { FailureThreshold = int.MaxValue, ReplacementThreshold = int.MaxValue },
            });
            var refusal = (Refusal)(round % 4);
            // Every third round ends in the middle of a refusal.
            bool endsEarly = round % 3 == 1;
            if (refusal == Refusal.FromTheBeginning)
            {
                threads.Shut();
            }

            using var stop = new CancellationTokenSource();
            Task watching = Task.Run(() => WatchAsync(stage, pool, threads, stop.Token));
            Task[] callers = [.. Enumerable.Range(0, Callers).Select(i => Task.Run(() => NewCaller(stage, pool, 3, i).RunAsync(stage.Clock, TimeSpan.MaxValue, stop.Token)))];
            await Task.Delay((until - stage.Clock.Elapsed) / 4 is { Ticks: > 0 } quarter ? quarter : TimeSpan.Zero, CancellationToken.None).ConfigureAwait(false);
            Refuse(threads, refusal, round);
            TimeSpan left = until - stage.Clock.Elapsed;
            await Task.Delay(left > LeastRound / 2 ? left : LeastRound / 2, CancellationToken.None).ConfigureAwait(false);
            if (!endsEarly)
            {
                threads.Open();
                grown += await RecoverAsync(stage, pool).ConfigureAwait(false) ? 1 : 0;
                await stop.CancelAsync().ConfigureAwait(false);
                await Task.WhenAll(callers).ConfigureAwait(false);
            }

            await stage.DisposeAsync(pool, atOnce: endsEarly).ConfigureAwait(false);
            await stop.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll([.. callers, watching]).ConfigureAwait(false);
            bool ended = await Stage.EventuallyAsync(() => threads.LiveThreads() == 0, LeastRound).ConfigureAwait(false);
            stage.Promise(ended, $"{threads.LiveThreads()} threads of a disposed pool are left");
            refused += threads.Refused;
        },
        leastRounds: 2).ConfigureAwait(false);

        stage.Promise(refused > 0, "no thread was refused although some should have been");
        stage.Report(string.Create(CultureInfo.InvariantCulture, $"{refused} threads refused; the pool grew back to {Workers} workers {grown} times"));
    }

    private static void Refuse(ThreadGate threads, Refusal refusal, int round)
    {
        switch (refusal)
        {
            case Refusal.ByChance:
                threads.RefuseOneIn(2);
                break;
            case Refusal.OneThread:
                threads.RefuseNumber(1 + (round / 4 % 3));
                break;
            default:
                threads.Shut();
                break;
        }
    }

    /// <summary>Checks that the pool answers again, and that it grows to all of its workers when enough waits.</summary>
    private static async Task<bool> RecoverAsync(Stage stage, StellaEmbeddingPool pool)
    {
        bool serves = false;
        TimeSpan end = stage.Clock.Elapsed + Recovery;
        while (!serves && stage.Clock.Elapsed < end)
        {
            Answer<float[]> answer = await stage.Books.CallAsync(() => pool.EmbedAsync(stage.Known.Texts[1], null, Patient), IsExpected).ConfigureAwait(false);
            serves = answer.IsCompleted;
            await Task.Delay(5).ConfigureAwait(false);
        }

        stage.Promise(serves, $"the pool did not serve {Recovery.TotalSeconds} s after threads returned");
        using var stop = new CancellationTokenSource();
        Task[] large = [.. Enumerable.Range(0, LargeCallers).Select(i => Task.Run(() => NewCaller(stage, pool, LargeTexts, 100 + i).RunAsync(stage.Clock, end, stop.Token)))];
        bool grew = await Stage.EventuallyAsync(() => pool.GetHealth().WorkerCount >= Workers, Recovery).ConfigureAwait(false);
        await stop.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(large).ConfigureAwait(false);
        return stage.Promise(grew, $"the pool did not grow to {Workers} workers within {Recovery.TotalSeconds} s after threads returned");
    }

    /// <summary>Checks at every moment that no worker is counted which does not run.</summary>
    private static async Task WatchAsync(Stage stage, StellaEmbeddingPool pool, ThreadGate threads, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            var (counted, running) = threads.Compare(() => pool.GetHealth().WorkerCount);
            stage.Promise(counted <= running, $"health counts {counted} workers, but {running} threads run");
            await Task.Delay(2, CancellationToken.None).ConfigureAwait(false);
        }
    }

    private static Caller NewCaller(Stage stage, StellaEmbeddingPool pool, int texts, int number) => new(
        new Traffic { Texts = texts, Pause = TimeSpan.FromMilliseconds(1), Forgives = IsExpected },
        stage.Known,
        stage.Books,
        () => pool,
        new CallGate(),
        stage.Seed + number);

    private static StellaCallOptions Patient { get; } = new() { Timeout = Caller.Patience * ClockFactor };

    /// <summary>Tells whether an error is that of a panic which was made, or of a thread that was refused.</summary>
    private static bool IsExpected(StellaException error) => Poison.IsMade(error) || Books.IsCausedBy<StellaThreadException>(error);
}
