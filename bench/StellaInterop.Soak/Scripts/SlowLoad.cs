using System.Globalization;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak.Scripts;

/// <summary>Makes a load slow. Health must report it, calls with short timeouts must time out promptly, and others must be answered.</summary>
internal sealed class SlowLoad : IScript
{
    private const int Callers = 6;

    private static readonly TimeSpan SlowLoadThreshold = TimeSpan.FromSeconds(0.3);
    private static readonly TimeSpan LoadTime = TimeSpan.FromSeconds(1.2);
    private static readonly TimeSpan MinRound = LoadTime;

    /// <summary>Limits of the delay after a deadline: the median of all calls, and a single call on a busy machine.</summary>
    private static readonly TimeSpan MaxMedianDelay = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan MaxDelay = TimeSpan.FromSeconds(1);

    public async Task RunAsync(ScenarioContext context)
    {
        var delays = new DurationHistogram();
        int degraded = 0;
        await context.RoundsAsync(MinRound, async (round, _) =>
        {
            FaultyModel source = context.Model(beforeLoad: () => Thread.Sleep(LoadTime));
            var pool = new StellaEmbeddingPool(source, context.Options() with
            {
                SlowLoadThreshold = SlowLoadThreshold,
                TimeProvider = new FastClock(1, context.Defect.LateTimers),
            });
            TimeSpan begin = context.Clock.Elapsed;
            Task[] callers =
            [
                .. Enumerable.Range(0, Callers).Select(i => Task.Run(() => CallWithShortTimeoutsAsync(pool, new Random(context.Seed + (100 * round) + i), begin + LoadTime))),
                Task.Run(() => CallWithLongTimeoutAsync(context, pool)),
            ];
            bool wasDegraded = false;
            while (context.Clock.Elapsed - begin < LoadTime - (SlowLoadThreshold / 3))
            {
                StellaPoolHealth health = pool.GetHealth();
                wasDegraded |= health is { Status: StellaPoolStatus.Degraded, ModelState: StellaPoolModelState.Loading }
                    && health.Reason.Contains("load", StringComparison.OrdinalIgnoreCase);
                await Task.Delay(5).ConfigureAwait(false);
            }

            context.Promise(wasDegraded, $"Health was never Degraded while a load took {(int)(LoadTime / SlowLoadThreshold)} times SlowLoadThreshold.");
            degraded += wasDegraded ? 1 : 0;
            await Task.WhenAll(callers).ConfigureAwait(false);
            StellaPoolHealth after = pool.GetHealth();
            context.Promise(after.Status == StellaPoolStatus.Healthy, $"Health is {after.Status} after a slow load: {after.Reason}");
            await context.DisposeAsync(pool).ConfigureAwait(false);
        }).ConfigureAwait(false);

        context.Promise(delays.Count > 0, "No call timed out, although the load took longer than the timeouts.");
        context.Promise(
            delays.Percentile(0.5) <= MaxMedianDelay.TotalSeconds,
            $"Calls timed out {delays.Percentile(0.5) * 1e3:F0} ms after their deadline (median). The limit is {MaxMedianDelay.TotalMilliseconds} ms.");
        context.Report(string.Create(
            CultureInfo.InvariantCulture,
            $"{delays.Count} calls timed out, {delays.Percentile(0.5) * 1e3:F1} ms after their deadline (median); health was degraded in {degraded} loads"));

        async Task CallWithShortTimeoutsAsync(StellaEmbeddingPool pool, Random random, TimeSpan loadEnd)
        {
            while (context.Clock.Elapsed < loadEnd - (3 * SlowLoadThreshold / 2))
            {
                var options = new StellaCallOptions { Timeout = TimeSpan.FromMilliseconds(random.Next(20, 200)) };
                Answer<float[]> answer = await context.Ledger.CallAsync(() => pool.EmbedAsync(context.Known.Texts[1], null, options)).ConfigureAwait(false);
                double delay = answer.Seconds - options.Timeout.Value.TotalSeconds;
                context.Promise(answer.Outcome == Outcomes.TimedOut, $"A call whose timeout ended during the load has the outcome {answer.Outcome}.");
                context.Promise(delay < MaxDelay.TotalSeconds, $"A call was answered {delay:F1} s after its deadline. The limit is {MaxDelay.TotalSeconds} s.");
                lock (delays)
                {
                    delays.Add(Math.Max(0, delay));
                }
            }
        }
    }

    /// <summary>Makes a call whose timeout is longer than the load.</summary>
    private static async Task CallWithLongTimeoutAsync(ScenarioContext context, StellaEmbeddingPool pool)
    {
        var options = new StellaCallOptions { Timeout = Caller.LongTimeout };
        Answer<float[]> answer = await context.Ledger.CallAsync(() => pool.EmbedAsync(context.Known.Texts[1], null, options)).ConfigureAwait(false);
        if (answer.Value is not { } vector)
        {
            context.Ledger.AddUnserved(answer.Outcome, answer.Error);
            return;
        }

        int wrong = context.Known.IsExpected(1, StellaPrompt.Document, context.Known.DefaultDimension, vector) ? 0 : 1;
        context.Ledger.AddVectors(1, 0, 0, wrong, answer.Seconds);
    }
}
