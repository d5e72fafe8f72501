using System.Globalization;
using StellaInterop.Pooling;

namespace StellaInterop.Soak.Scripts;

/// <summary>A load takes long: health says so, calls with deadlines time out in time, and patient calls are answered.</summary>
internal sealed class SlowLoad : IScript
{
    private const int Callers = 6;

    private static readonly TimeSpan SlowLoadThreshold = TimeSpan.FromSeconds(0.3);
    private static readonly TimeSpan LoadTime = TimeSpan.FromSeconds(1.2);
    private static readonly TimeSpan MinRound = LoadTime;

    /// <summary>An answer may come so much after its deadline: the median of all, and the latest on a busy machine.</summary>
    private static readonly TimeSpan MaxMedianDelay = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan MaxDelay = TimeSpan.FromSeconds(1);

    public async Task RunAsync(ScenarioContext context)
    {
        var late = new DurationHistogram();
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
                Task.Run(() => WaitAsync(context, pool)),
            ];
            bool saw = false;
            while (context.Clock.Elapsed - begin < LoadTime - (SlowLoadThreshold / 3))
            {
                StellaPoolHealth health = pool.GetHealth();
                saw |= health is { Status: StellaPoolStatus.Degraded, ModelState: StellaPoolModelState.Loading }
                    && health.Reason.Contains("load", StringComparison.OrdinalIgnoreCase);
                await Task.Delay(5).ConfigureAwait(false);
            }

            context.Promise(saw, $"health was never degraded while a load took {(int)(LoadTime / SlowLoadThreshold)} times as long as is normal");
            degraded += saw ? 1 : 0;
            await Task.WhenAll(callers).ConfigureAwait(false);
            StellaPoolHealth after = pool.GetHealth();
            context.Promise(after.Status == StellaPoolStatus.Healthy, $"health is {after.Status} after a slow load: {after.Reason}");
            await context.DisposeAsync(pool).ConfigureAwait(false);
        }).ConfigureAwait(false);

        context.Promise(late.Count > 0, "no call timed out although the load took longer than its deadline");
        context.Promise(
            late.Percentile(0.5) <= MaxMedianDelay.TotalSeconds,
            $"calls timed out {late.Percentile(0.5) * 1e3:F0} ms after their deadline (median)");
        context.Report(string.Create(
            CultureInfo.InvariantCulture,
            $"{late.Count} calls timed out, {late.Percentile(0.5) * 1e3:F1} ms after their deadline (median); health was degraded in {degraded} loads"));

        async Task CallWithShortTimeoutsAsync(StellaEmbeddingPool pool, Random random, TimeSpan loaded)
        {
            while (context.Clock.Elapsed < loaded - (3 * SlowLoadThreshold / 2))
            {
                var options = new StellaCallOptions { Timeout = TimeSpan.FromMilliseconds(random.Next(20, 200)) };
                Answer<float[]> answer = await context.Ledger.CallAsync(() => pool.EmbedAsync(context.Known.Texts[1], null, options)).ConfigureAwait(false);
                double after = answer.Seconds - options.Timeout.Value.TotalSeconds;
                context.Promise(answer.Outcome == Outcomes.TimedOut, $"a call whose time ended during the load is {answer.Outcome}");
                context.Promise(after < MaxDelay.TotalSeconds, $"a call was answered {after:F1} s after its deadline");
                lock (late)
                {
                    late.Add(Math.Max(0, after));
                }
            }
        }
    }

    /// <summary>Makes a call that has time for the whole load.</summary>
    private static async Task WaitAsync(ScenarioContext context, StellaEmbeddingPool pool)
    {
        var options = new StellaCallOptions { Timeout = Caller.LongTimeout };
        Answer<float[]> answer = await context.Ledger.CallAsync(() => pool.EmbedAsync(context.Known.Texts[1], null, options)).ConfigureAwait(false);
        if (answer.Value is not { } vector)
        {
            context.Ledger.AddUnserved(answer.Outcome, answer.Error);
            return;
        }

        int wrong = context.Known.IsExpected(1, StellaPrompt.Document, context.Known.DefaultDimension, vector) ? 0 : 1;
        context.Ledger.Vectors(1, 0, 0, wrong, answer.Seconds);
    }
}
