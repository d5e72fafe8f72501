using System.Globalization;

namespace StellaInterop.Soak.Scripts;

/// <summary>Loads fail for a while. The pool heals without traffic, and its health tells the truth meanwhile.</summary>
internal sealed class FailingLoad : IScript
{
    private const int ClockFactor = 10;

    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);

    /// <summary>The longest pause between two loads is 60 s by the pool's clock.</summary>
    private static readonly TimeSpan Recovery = TimeSpan.FromSeconds(10);

    public async Task RunAsync(ScenarioContext context)
    {
        context.Ledger.ClockFactor = ClockFactor;
        int failures = 0;
        var healing = new DurationHistogram();
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
            context.Promise(first.Outcome is Outcomes.Failed or Outcomes.Rejected, $"a call whose load failed is {first.Outcome}");

            // Without traffic from here on.
            TimeSpan end = context.Clock.Elapsed + (TimeSpan.FromSeconds(0.2 + (0.2 * (round % 3))));
            while (context.Clock.Elapsed < end)
            {
                StellaPoolHealth health = pool.GetHealth();
                context.Promise(
                    health is { Status: StellaPoolStatus.Unhealthy, Reason.Length: > 0, LastLoadError: not null },
                    $"health is {health.Status} while loads fail: {health.Reason}");
                await Task.Delay(5).ConfigureAwait(false);
            }

            Volatile.Write(ref fails, context.Defect.NeverHeals);
            double healed = context.Clock.Elapsed.TotalSeconds;
            bool isHealthy = await ScenarioContext.EventuallyAsync(
                () => pool.GetHealth().Status == StellaPoolStatus.Healthy, context.Defect.NeverHeals ? MinRound : Recovery).ConfigureAwait(false);
            if (context.Promise(isHealthy, "the pool did not become healthy after loads worked again, without traffic"))
            {
                healing.Add(context.Clock.Elapsed.TotalSeconds - healed);
                Answer<float[]> last = await context.Ledger.CallAsync(() => pool.EmbedAsync(context.Known.Texts[1])).ConfigureAwait(false);
                bool right = last.Value is { } vector && context.Known.IsExpected(1, StellaPrompt.Document, context.Known.DefaultDimension, vector);
                context.Promise(last.IsCompleted, $"a call of a pool that is healthy again is {last.Outcome}: {last.Error?.Message}");
                context.Ledger.Vectors(1, 0, 0, right || !last.IsCompleted ? 0 : 1, last.Seconds);
            }

            await context.DisposeAsync(pool).ConfigureAwait(false);
        }).ConfigureAwait(false);
        context.Report(string.Create(
            CultureInfo.InvariantCulture,
            $"{failures} loads failed; {healing.Count} pools healed by themselves, the slowest in {healing.Percentile(0.99999):F1} s, with a clock {ClockFactor} times as fast"));
    }

    /// <summary>Throws as the library does for a folder that is missing.</summary>
    private static void FailToLoad(ScenarioContext context)
    {
        using StellaModel model = StellaModel.Load(Path.Combine(context.Folder, "missing"), context.ModelOptions);
    }
}
