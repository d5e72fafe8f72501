using System.Globalization;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak.Scripts;

/// <summary>Makes loads fail for a while. The pool must recover without traffic, and report Unhealthy until then.</summary>
internal sealed class FailingLoad : IScript
{
    private const int ClockFactor = 10;

    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);

    /// <summary>Time for the recovery. The longest pause between two loads is 60 s by the pool's clock.</summary>
    private static readonly TimeSpan Recovery = TimeSpan.FromSeconds(10);

    public async Task RunAsync(ScenarioContext context)
    {
        context.Ledger.ClockFactor = ClockFactor;
        int failures = 0;
        var recoveryTimes = new DurationHistogram();
        await context.RoundsAsync(MinRound, async (round, until) =>
        {
            bool fails = true;
            FaultyModel source = context.Model(beforeLoad: () =>
            {
                if (Volatile.Read(ref fails))
                {
                    _ = Interlocked.Increment(ref failures);
                    FailToLoad(context);
                }
            });
            var pool = new StellaEmbeddingPool(source, context.Options() with
            {
                TimeProvider = new FastClock(ClockFactor),
                IdleTimeout = TimeSpan.FromMinutes(5),
                MinWorkers = round % 2,
            });
            Answer<float[]> first = await context.Ledger.CallAsync(() => pool.EmbedAsync(context.Known.Texts[1]), _ => true).ConfigureAwait(false);
            context.Promise(first.Outcome is Outcomes.Failed or Outcomes.Rejected, $"A call whose load failed has the outcome {first.Outcome}.");

            // There is no traffic from here on.
            TimeSpan end = context.Clock.Elapsed + (TimeSpan.FromSeconds(0.2 + (0.2 * (round % 3))));
            while (context.Clock.Elapsed < end)
            {
                StellaPoolHealth health = pool.GetHealth();
                context.Promise(
                    health is { Status: StellaPoolStatus.Unhealthy, Reason.Length: > 0, LastLoadError: not null },
                    $"Health is {health.Status} while loads fail: {health.Reason}");
                await Task.Delay(5).ConfigureAwait(false);
            }

            Volatile.Write(ref fails, context.Defect.NeverHeals);
            double repaired = context.Clock.Elapsed.TotalSeconds;
            bool isHealthy = await ScenarioContext.EventuallyAsync(
                () => pool.GetHealth().Status == StellaPoolStatus.Healthy, context.Defect.NeverHeals ? MinRound : Recovery).ConfigureAwait(false);
            if (context.Promise(isHealthy, "The pool did not become healthy after loads succeeded again, without traffic."))
            {
                recoveryTimes.Add(context.Clock.Elapsed.TotalSeconds - repaired);
                Answer<float[]> last = await context.Ledger.CallAsync(() => pool.EmbedAsync(context.Known.Texts[1])).ConfigureAwait(false);
                bool isExpected = last.Value is { } vector && context.Known.IsExpected(1, StellaPrompt.Document, context.Known.DefaultDimension, vector);
                context.Promise(last.IsCompleted, $"A call after the recovery has the outcome {last.Outcome}: {last.Error?.Message}");
                context.Ledger.AddVectors(1, 0, 0, isExpected || !last.IsCompleted ? 0 : 1, last.Seconds);
            }

            await context.DisposeAsync(pool).ConfigureAwait(false);
        }).ConfigureAwait(false);
        context.Report(string.Create(
            CultureInfo.InvariantCulture,
            $"{failures} loads failed; {recoveryTimes.Count} pools recovered without a call, the slowest in {recoveryTimes.Percentile(0.99999):F1} s, with a clock {ClockFactor} times as fast"));
    }

    /// <summary>Throws the library's error for a missing folder.</summary>
    private static void FailToLoad(ScenarioContext context)
    {
        using StellaModel model = StellaModel.Load(Path.Combine(context.Folder, "missing"), context.ModelOptions);
    }
}
