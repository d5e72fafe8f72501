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

    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);

    /// <summary>The pool's longest pause before it tries again is 60 s by its own clock.</summary>
    private static readonly TimeSpan Recovery = TimeSpan.FromSeconds(15);

    private enum Refusal
    {
        Stretch,
        ByChance,
        FromTheBeginning,
        OneThread,
    }

    public async Task RunAsync(ScenarioContext context)
    {
        context.Ledger.ClockFactor = ClockFactor;
        int refused = 0;
        int grown = 0;
        await context.RoundsAsync(MinRound, async (round, until) =>
        {
            var threads = new ThreadGate(context.Seed + round, context.Defect.LosesThreads && round == 0);
            FaultyModel source = context.Model(new Faults { PanicOneIn = 20 });
            var pool = new StellaEmbeddingPool(source, context.Options() with
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
                threads.RefuseAll();
            }

            using var stop = new CancellationTokenSource();
            Task watching = Task.Run(() => WatchAsync(context, pool, threads, stop.Token));
            Task[] callers = [.. Enumerable.Range(0, Callers).Select(i => Task.Run(() => NewCaller(context, pool, 3, i).RunAsync(context.Clock, TimeSpan.MaxValue, stop.Token)))];
            await Task.Delay((until - context.Clock.Elapsed) / 4 is { Ticks: > 0 } quarter ? quarter : TimeSpan.Zero, CancellationToken.None).ConfigureAwait(false);
            Refuse(threads, refusal, round);
            TimeSpan left = until - context.Clock.Elapsed;
            await Task.Delay(left > MinRound / 2 ? left : MinRound / 2, CancellationToken.None).ConfigureAwait(false);
            if (!endsEarly)
            {
                threads.RefuseNone();
                grown += await RecoverAsync(context, pool).ConfigureAwait(false) ? 1 : 0;
                await stop.CancelAsync().ConfigureAwait(false);
                await Task.WhenAll(callers).ConfigureAwait(false);
            }

            await context.DisposeAsync(pool, atOnce: endsEarly).ConfigureAwait(false);
            await stop.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll([.. callers, watching]).ConfigureAwait(false);
            bool ended = await ScenarioContext.EventuallyAsync(() => threads.LiveThreads() == 0, MinRound).ConfigureAwait(false);
            context.Promise(ended, $"{threads.LiveThreads()} threads of a disposed pool are left");
            refused += threads.Refused;
        },
        minRounds: 2).ConfigureAwait(false);

        context.Promise(refused > 0, "no thread was refused although some should have been");
        context.Report(string.Create(CultureInfo.InvariantCulture, $"{refused} threads refused; the pool grew back to {Workers} workers {grown} times"));
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
                threads.RefuseAll();
                break;
        }
    }

    /// <summary>Checks that the pool answers again, and that it grows to all of its workers when enough waits.</summary>
    private static async Task<bool> RecoverAsync(ScenarioContext context, StellaEmbeddingPool pool)
    {
        bool serves = false;
        TimeSpan end = context.Clock.Elapsed + Recovery;
        while (!serves && context.Clock.Elapsed < end)
        {
            Answer<float[]> answer = await context.Ledger.CallAsync(() => pool.EmbedAsync(context.Known.Texts[1], null, Patient), IsExpected).ConfigureAwait(false);
            serves = answer.IsCompleted;
            await Task.Delay(5).ConfigureAwait(false);
        }

        context.Promise(serves, $"the pool did not serve {Recovery.TotalSeconds} s after threads returned");
        using var stop = new CancellationTokenSource();
        Task[] large = [.. Enumerable.Range(0, LargeCallers).Select(i => Task.Run(() => NewCaller(context, pool, LargeTexts, 100 + i).RunAsync(context.Clock, end, stop.Token)))];
        bool grew = await ScenarioContext.EventuallyAsync(() => pool.GetHealth().WorkerCount >= Workers, Recovery).ConfigureAwait(false);
        await stop.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(large).ConfigureAwait(false);
        return context.Promise(grew, $"the pool did not grow to {Workers} workers within {Recovery.TotalSeconds} s after threads returned");
    }

    /// <summary>Checks at every moment that no worker is counted which does not run.</summary>
    private static async Task WatchAsync(ScenarioContext context, StellaEmbeddingPool pool, ThreadGate threads, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            var (counted, running) = threads.Compare(() => pool.GetHealth().WorkerCount);
            context.Promise(counted <= running, $"health counts {counted} workers, but {running} threads run");
            await Task.Delay(2, CancellationToken.None).ConfigureAwait(false);
        }
    }

    private static Caller NewCaller(ScenarioContext context, StellaEmbeddingPool pool, int texts, int number) => new(
        new Traffic { Texts = texts, Pause = TimeSpan.FromMilliseconds(1), IsExpectedError = IsExpected },
        context.Known,
        context.Ledger,
        () => pool,
        new CallGate(),
        context.Seed + number);

    private static StellaCallOptions Patient { get; } = new() { Timeout = Caller.LongTimeout * ClockFactor };

    /// <summary>Tells whether an error is that of a panic which was made, or of a thread that was refused.</summary>
    private static bool IsExpected(StellaException error) => Poison.IsInjected(error) || CallLedger.IsCausedBy<StellaThreadException>(error);
}
