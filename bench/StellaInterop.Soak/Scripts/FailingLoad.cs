using System.Globalization;

namespace StellaInterop.Soak.Scripts;

/// <summary>Loads fail for a while. The pool heals without traffic, and its health tells the truth meanwhile.</summary>
internal sealed class FailingLoad : IScript
{
    private const int ClockFactor = 10;

    private static readonly TimeSpan LeastRound = TimeSpan.FromSeconds(1);

    /// <summary>The longest pause between two loads is 60 s by the pool's clock.</summary>
    private static readonly TimeSpan Recovery = TimeSpan.FromSeconds(10);

    public async Task RunAsync(Stage stage)
    {
        stage.Books.ClockFactor = ClockFactor;
        int failures = 0;
        var healing = new Times();
        await stage.RoundsAsync(LeastRound, async (round, until) =>
        {
            bool fails = true;
            FaultyModel source = stage.Model(beforeLoad: () =>
            {
                if (Volatile.Read(ref fails))
                {
                    _ = Interlocked.Increment(ref failures);
                    FailToLoad(stage);
                }
            });
            var pool = new StellaEmbeddingPool(source, stage.Options() with
            {
                TimeProvider = new FastClock(ClockFactor),
                IdleTimeout = TimeSpan.FromMinutes(5),
                MinWorkers = round % 2,
            });
            Answer<float[]> first = await stage.Books.CallAsync(() => pool.EmbedAsync(stage.Known.Texts[1]), _ => true).ConfigureAwait(false);
            stage.Promise(first.Outcome is Outcomes.Failed or Outcomes.Rejected, $"a call whose load failed is {first.Outcome}");

            // Without traffic from here on.
            TimeSpan end = stage.Clock.Elapsed + (TimeSpan.FromSeconds(0.2 + (0.2 * (round % 3))));
            while (stage.Clock.Elapsed < end)
            {
                StellaPoolHealth health = pool.GetHealth();
                stage.Promise(
                    health is { Status: StellaPoolStatus.Unhealthy, Reason.Length: > 0, LastLoadError: not null },
                    $"health is {health.Status} while loads fail: {health.Reason}");
                await Task.Delay(5).ConfigureAwait(false);
            }

            Volatile.Write(ref fails, stage.Defect.NeverHeals);
            double healed = stage.Clock.Elapsed.TotalSeconds;
            bool isHealthy = await Stage.EventuallyAsync(
                () => pool.GetHealth().Status == StellaPoolStatus.Healthy, stage.Defect.NeverHeals ? LeastRound : Recovery).ConfigureAwait(false);
            if (stage.Promise(isHealthy, "the pool did not become healthy after loads worked again, without traffic"))
            {
                healing.Add(stage.Clock.Elapsed.TotalSeconds - healed);
                Answer<float[]> last = await stage.Books.CallAsync(() => pool.EmbedAsync(stage.Known.Texts[1])).ConfigureAwait(false);
                bool right = last.Value is { } vector && stage.Known.IsRight(1, StellaPrompt.Document, stage.Known.DefaultDimension, vector);
                stage.Promise(last.IsCompleted, $"a call of a pool that is healthy again is {last.Outcome}: {last.Error?.Message}");
                stage.Books.Vectors(1, 0, 0, right || !last.IsCompleted ? 0 : 1, last.Seconds);
            }

            await stage.DisposeAsync(pool).ConfigureAwait(false);
        }).ConfigureAwait(false);
        stage.Report(string.Create(
            CultureInfo.InvariantCulture,
            $"{failures} loads failed; {healing.Count} pools healed by themselves, the slowest in {healing.Percentile(0.99999):F1} s, with a clock {ClockFactor} times as fast"));
    }

    /// <summary>Throws as the library does for a folder that is missing.</summary>
    private static void FailToLoad(Stage stage)
    {
        using StellaModel model = StellaModel.Load(Path.Combine(stage.Folder, "missing"), stage.ModelOptions);
    }
}
