using StellaInterop.Serving;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak.Scripts;

/// <summary>Runs concurrent callers on one pool, with the settings of the scenario.</summary>
internal sealed class CallerStorm(Scenario scenario) : IScript
{
    /// <summary>Bytes in the memory budget for the process, which grows in the first seconds in addition to the model.</summary>
    private const long ProcessRoom = 24 << 20;

    /// <summary>Number of memory samples in a long run. The callers wait during each.</summary>
    private const int MemorySamples = 30;

    /// <summary>Number of expected faults from which a run without any fault is not by chance.</summary>
    private const int ManyFaults = 10;

    private static readonly TimeSpan SampleEvery = TimeSpan.FromMilliseconds(250);

    /// <summary>Time after which a call counts as lost. Every timeout is shorter.</summary>
    private static readonly TimeSpan LostAfter = TimeSpan.FromMinutes(10);

    /// <summary>Longest wait for calls in flight. If one takes longer, this sample is skipped, so that the other callers can continue.</summary>
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(2);

    public async Task RunAsync(ScenarioContext context)
    {
        FaultyModel model = context.Model(scenario.Faults);
        StellaPoolOptions options = Options(context, model);
        var pool = new StellaEmbeddingPool(model, options);
        using (var stop = new CancellationTokenSource())
        {
            Task watching = WatchAsync(context, () => pool, options, stop.Token);
            Task sampling = Task.CompletedTask;
            List<Task> callers =
            [
                .. Enumerable.Range(0, scenario.Callers).Select(i =>
                    Task.Run(() => NewCaller(i).RunAsync(context.Clock, context.Duration))),
            ];
            if (scenario.BulkTexts > 0)
            {
                // The vectors of a large call are most of the memory while it runs, so its caller takes the samples between two calls.
                callers.Add(Task.Run(() => NewCaller(-1).RunBulkAsync(
                    context.Clock, context.Duration, scenario.BulkTexts, () => SampleMemoryAsync(context, pool))));
            }
            else if (scenario.RecreateEvery == 0)
            {
                sampling = SampleMemoryRegularlyAsync(context, pool, stop.Token);
            }

            while (scenario.RecreateEvery > 0 && context.Clock.Elapsed < context.Duration - TimeSpan.FromSeconds(scenario.RecreateEvery / 2))
            {
                await Task.Delay(TimeSpan.FromSeconds(scenario.RecreateEvery), CancellationToken.None).ConfigureAwait(false);
                StellaEmbeddingPool old = pool;
                pool = new StellaEmbeddingPool(model, options);
                await old.DisposeAsync().ConfigureAwait(false);

                // Each load puts the model on other pages, half of which it shares with free blocks. Without a model, the same pages
                // remain each time. So this sample is taken between two pools.
                bool isIdle = await context.Gate.CloseAsync(LongestPause).ConfigureAwait(false);
                await pool.DisposeAsync().ConfigureAwait(false);
                if (isIdle)
                {
                    context.SampleMemory();
                }

                pool = new StellaEmbeddingPool(model, options);
                context.Gate.Open();
            }

            await WaitForCallersAsync(context, callers).ConfigureAwait(false);
            await stop.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(watching, sampling).ConfigureAwait(false);
        }

        await context.DisposeAsync(pool).ConfigureAwait(false);
        context.Promise(
            scenario.Faults.FaultyTextOneIn == 0 || context.Ledger.FailedTexts > 0 || context.Ledger.Texts < ManyFaults * scenario.Faults.FaultyTextOneIn,
            "No text failed, although faults were injected.");

        Caller NewCaller(int i) => new(scenario.Traffic, context.Known, context.Ledger, () => pool, context.Gate, context.Seed + i);
    }

    /// <summary>Takes a memory sample once no call is in flight and no worker is busy.</summary>
    private static async Task SampleMemoryAsync(ScenarioContext context, StellaEmbeddingPool pool)
    {
        if (await context.Gate.CloseAsync(LongestPause).ConfigureAwait(false)
            && await ScenarioContext.EventuallyAsync(() => pool.GetHealth() is { BusyWorkerCount: 0, QueuedCallCount: 0 }, LongestPause).ConfigureAwait(false))
        {
            context.SampleMemory();
        }

        context.Gate.Open();
    }

    private static async Task SampleMemoryRegularlyAsync(ScenarioContext context, StellaEmbeddingPool pool, CancellationToken stop)
    {
        TimeSpan every = context.Duration / MemorySamples > SampleEvery ? context.Duration / MemorySamples : SampleEvery;
        while (!stop.IsCancellationRequested)
        {
            await SampleMemoryAsync(context, pool).ConfigureAwait(false);
            await Task.Delay(every, CancellationToken.None).ConfigureAwait(false);
        }
    }

    /// <summary>Checks that the queue keeps its limits.</summary>
    private static async Task WatchAsync(ScenarioContext context, Func<StellaEmbeddingPool> pool, StellaPoolOptions options, CancellationToken stop)
    {
        var limits = new PoolLimits(options);
        while (!stop.IsCancellationRequested)
        {
            StellaPoolHealth health = pool().GetHealth();
            context.Promise(
                health.QueuedTokenCount <= limits.QueuedTokens && health.QueuedCallCount <= 2 * options.MaxQueuedCalls,
                $"The queue has {health.QueuedTokenCount} tokens and {health.QueuedCallCount} calls. The limits are {limits.QueuedTokens} and {2 * options.MaxQueuedCalls}.");
            await Task.Delay(SampleEvery, CancellationToken.None).ConfigureAwait(false);
        }
    }

    /// <summary>Waits for the callers, with a timeout, because a caller whose call is lost waits forever.</summary>
    private static async Task WaitForCallersAsync(ScenarioContext context, List<Task> callers)
    {
        try
        {
            await Task.WhenAll(callers).WaitAsync(LostAfter).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            context.Promise(false, $"{context.Ledger.Submitted - context.Ledger.CallerOutcomes.Values.Sum()} calls have no answer after {LostAfter.TotalMinutes} minutes.");
        }
    }

    private StellaPoolOptions Options(ScenarioContext context, FaultyModel model)
    {
        StellaPoolOptions options = scenario.Pool(context.Options());
        if (!scenario.HasTightMemory)
        {
            return options;
        }

        StellaMemoryEstimate estimate = model.Estimate(options.EffectiveThreads, options.EffectiveBatchTokens);
        long used = new StellaMemoryGovernor().GetStatus().MeasuredBytes;
        long room = estimate.WeightsBytes + estimate.TokenizerBytes + estimate.LoadingBytes + (3 * estimate.SessionBytes / 2);
        return options with
        {
            Governor = new StellaMemoryGovernor(new StellaMemoryGovernorOptions { LimitBytes = used + room + ProcessRoom }),
        };
    }
}
