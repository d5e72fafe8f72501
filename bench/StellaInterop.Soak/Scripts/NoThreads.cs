using System.Globalization;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak.Scripts;

/// <summary>Refuses threads at random or for some time, while panics make the pool replace its workers.</summary>
internal sealed class NoThreads : IScript
{
    private const int ClockFactor = 10;
    private const int Workers = 3;
    private const int Callers = 12;

    /// <summary>Number of callers that make the pool grow, and the texts of each of their calls.</summary>
    private const int LargeCallers = 6;
    private const int LargeTexts = 200;

    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);

    /// <summary>Time for the recovery. The pool's longest pause between two attempts is 60 s by its own clock.</summary>
    private static readonly TimeSpan Recovery = TimeSpan.FromSeconds(15);

    private enum Refusal
    {
        AllForSomeTime,
        AtRandom,
        AllFromTheStart,
        OneThread,
    }

    public async Task RunAsync(ScenarioContext context)
    {
        context.Ledger.ClockFactor = ClockFactor;
        int refused = 0;
        int recoveries = 0;
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
            // Every third round disposes the pool while threads are refused.
            bool endsEarly = round % 3 == 1;
            if (refusal == Refusal.AllFromTheStart)
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
                recoveries += await RecoverAsync(context, pool).ConfigureAwait(false) ? 1 : 0;
                await stop.CancelAsync().ConfigureAwait(false);
                await Task.WhenAll(callers).ConfigureAwait(false);
            }

            await context.DisposeAsync(pool, isSynchronous: endsEarly).ConfigureAwait(false);
            await stop.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll([.. callers, watching]).ConfigureAwait(false);
            bool ended = await ScenarioContext.EventuallyAsync(() => threads.LiveThreads() == 0, MinRound).ConfigureAwait(false);
            context.Promise(ended, $"{threads.LiveThreads()} threads of a disposed pool still run.");
            refused += threads.Refused;
        },
        minRounds: 2).ConfigureAwait(false);

        context.Promise(refused > 0, "No thread was refused, although refusals were injected.");
        context.Report(string.Create(CultureInfo.InvariantCulture, $"{refused} threads refused; the pool grew back to {Workers} workers {recoveries} times"));
    }

    private static void Refuse(ThreadGate threads, Refusal refusal, int round)
    {
        switch (refusal)
        {
            case Refusal.AtRandom:
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

    /// <summary>Checks that the pool answers again, and that it grows to its maximum of workers if enough texts are queued.</summary>
    private static async Task<bool> RecoverAsync(ScenarioContext context, StellaEmbeddingPool pool)
    {
        bool serves = false;
        TimeSpan end = context.Clock.Elapsed + Recovery;
        while (!serves && context.Clock.Elapsed < end)
        {
            Answer<float[]> answer = await context.Ledger.CallAsync(() => pool.EmbedAsync(context.Known.Texts[1], null, LongTimeoutOptions), IsExpectedError).ConfigureAwait(false);
            serves = answer.IsCompleted;
            await Task.Delay(5).ConfigureAwait(false);
        }

        context.Promise(serves, $"The pool did not answer within {Recovery.TotalSeconds} s after threads were available again.");
        using var stop = new CancellationTokenSource();
        Task[] large = [.. Enumerable.Range(0, LargeCallers).Select(i => Task.Run(() => NewCaller(context, pool, LargeTexts, 100 + i).RunAsync(context.Clock, end, stop.Token)))];
        bool grew = await ScenarioContext.EventuallyAsync(() => pool.GetHealth().WorkerCount >= Workers, Recovery).ConfigureAwait(false);
        await stop.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(large).ConfigureAwait(false);
        return context.Promise(grew, $"The pool did not grow to {Workers} workers within {Recovery.TotalSeconds} s after threads were available again.");
    }

    /// <summary>Checks in a loop that health counts only workers that run.</summary>
    private static async Task WatchAsync(ScenarioContext context, StellaEmbeddingPool pool, ThreadGate threads, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            var (counted, running) = threads.Compare(() => pool.GetHealth().WorkerCount);
            context.Promise(counted <= running, $"Health counts {counted} workers, but only {running} threads run.");
            await Task.Delay(2, CancellationToken.None).ConfigureAwait(false);
        }
    }

    private static Caller NewCaller(ScenarioContext context, StellaEmbeddingPool pool, int texts, int number) => new(
        new Traffic { Texts = texts, Pause = TimeSpan.FromMilliseconds(1), IsExpectedError = IsExpectedError },
        context.Known,
        context.Ledger,
        () => pool,
        new CallGate(),
        context.Seed + number);

    private static StellaCallOptions LongTimeoutOptions { get; } = new() { Timeout = Caller.LongTimeout * ClockFactor };

    /// <summary>Returns whether an error comes from an injected panic or from a refused thread.</summary>
    private static bool IsExpectedError(StellaException error) => Poison.IsInjected(error) || CallLedger.IsCausedBy<StellaThreadException>(error);
}
