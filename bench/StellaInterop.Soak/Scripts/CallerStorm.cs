using StellaInterop.Pooling;
using StellaInterop.Soak.Memory;

namespace StellaInterop.Soak.Scripts;

/// <summary>Callers at once on one pool, as the scenario's settings say.</summary>
internal sealed class CallerStorm(Scenario scenario) : IScript
{
    /// <summary>The process itself grows beside the model in the first seconds.</summary>
    private const long ProcessRoom = 24 << 20;

    /// <summary>Looks at the memory in a long run. The callers wait meanwhile.</summary>
    private const int MemorySamples = 30;

    /// <summary>Expected faults from which on their absence is no accident.</summary>
    private const int ManyFaults = 10;

    private static readonly TimeSpan SampleEvery = TimeSpan.FromMilliseconds(250);

    /// <summary>Every call has a timeout that is shorter than this.</summary>
    private static readonly TimeSpan LostAfter = TimeSpan.FromMinutes(10);

    /// <summary>A caller that is not done by then holds up the others; the memory is measured at the next look.</summary>
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(2);

    public async Task RunAsync(ScenarioContext context)
    {
        FaultyModel model = context.Model(scenario.Faults);
        StellaPoolOptions options = Options(context, model);
        var pool = new StellaEmbeddingPool(model, options);
        using (var stop = new CancellationTokenSource())
        {
            Task watching = WatchAsync(context, () => pool, options, stop.Token);
            Task looking = Task.CompletedTask;
            List<Task> callers =
            [
                .. Enumerable.Range(0, scenario.Callers).Select(i =>
                    Task.Run(() => NewCaller(i).RunAsync(context.Clock, context.Duration))),
            ];
            if (scenario.BulkTexts > 0)
            {
                // The vectors of a large call are most of the memory while it runs, so its caller looks between two calls.
                callers.Add(Task.Run(() => NewCaller(-1).RunBulkAsync(
                    context.Clock, context.Duration, scenario.BulkTexts, () => SampleMemoryAsync(context, pool))));
            }
            else if (scenario.RecreateEvery == 0)
            {
                looking = SampleMemoryRegularlyAsync(context, pool, stop.Token);
            }

            while (scenario.RecreateEvery > 0 && context.Clock.Elapsed < context.Duration - TimeSpan.FromSeconds(scenario.RecreateEvery / 2))
            {
                await Task.Delay(TimeSpan.FromSeconds(scenario.RecreateEvery), CancellationToken.None).ConfigureAwait(false);
                StellaEmbeddingPool old = pool;
                pool = new StellaEmbeddingPool(model, options);
                await old.DisposeAsync().ConfigureAwait(false);

                // A model that is loaded anew lies on other pages each time, half of them shared with free blocks. Without a model
                // the same pages are left each time, so this look comes between two pools.
                bool empty = await context.Gate.CloseAsync(LongestPause).ConfigureAwait(false);
                await pool.DisposeAsync().ConfigureAwait(false);
                if (empty)
                {
                    context.SampleMemory();
                }

                pool = new StellaEmbeddingPool(model, options);
                context.Gate.Open();
            }

            await AllAsync(context, callers).ConfigureAwait(false);
            await stop.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(watching, looking).ConfigureAwait(false);
        }

        await context.DisposeAsync(pool).ConfigureAwait(false);
        context.Promise(
            scenario.Faults.FaultyTextOneIn == 0 || context.Ledger.FailedTexts > 0 || context.Ledger.Texts < ManyFaults * scenario.Faults.FaultyTextOneIn,
            "no text failed although some were made to");

        Caller NewCaller(int i) => new(scenario.Traffic, context.Known, context.Ledger, () => pool, context.Gate, context.Seed + i);
    }

    /// <summary>Looks at the memory between two calls: waits until no call is in flight and no worker is at a batch.</summary>
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
                $"the queue has {health.QueuedTokenCount} tokens and {health.QueuedCallCount} calls");
            await Task.Delay(SampleEvery, CancellationToken.None).ConfigureAwait(false);
        }
    }

    /// <summary>Waits for the callers; one whose call is lost would wait for ever.</summary>
    private static async Task AllAsync(ScenarioContext context, List<Task> callers)
    {
        try
        {
            await Task.WhenAll(callers).WaitAsync(LostAfter).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            context.Promise(false, $"{context.Ledger.Submitted - context.Ledger.Seen.Values.Sum()} calls have no answer");
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
