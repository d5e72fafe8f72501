namespace StellaInterop.Serving;

/// <summary>Judges the state of a pool by the queue, the circuits, the model and the workers. Thread-safe.</summary>
internal sealed class PoolHealth(PoolServices services, ModelHost host, OpenCalls calls)
{
    /// <summary>The fill of the queue from which the pool is degraded.</summary>
    private const double NearlyFull = 0.9;

    /// <summary>A forward pass takes a few seconds at most. After this time it hangs, or the machine is far too slow.</summary>
    private static readonly TimeSpan LongForward = TimeSpan.FromSeconds(30);

    /// <inheritdoc cref="StellaEmbeddingPool.GetHealth"/>
    public StellaPoolHealth Get()
    {
        AdmissionState admitted = services.Admission.State;
        ModelState model = host.State;
        var (workers, busy, longest, refused) = model.Loaded?.Workers.State ?? default;
        BreakerView circuits = services.Breaker.View(new Heads(host.Info?.DefaultDimension ?? 0));
        double fill = Math.Max(
            (admitted.Calls + admitted.WaitingCalls) / (double)services.Options.MaxQueuedCalls,
            admitted.ReservedTokens / (double)services.Limits.QueuedTokens);

        var (status, reason) = Judge();
        return new StellaPoolHealth
        {
            Status = status,
            Reason = reason,
            ModelState = calls.IsClosed ? StellaPoolModelState.Closed : model.Phase,
            WorkerCount = workers,
            BusyWorkerCount = busy,
            QueuedCallCount = admitted.Calls + admitted.WaitingCalls,
            QueuedTokenCount = services.Scheduler.State.QueuedTokens,
            QueueFill = Math.Min(fill, 1),
            LongestForwardPass = longest,
            CacheBytes = services.Cache?.Bytes ?? 0,
            LastLoadError = model.LastFailure,
        };

        // Worst condition first.
        (StellaPoolStatus Status, string Reason) Judge() => (circuits.State, model.Phase) switch
        {
            _ when calls.IsClosed => (StellaPoolStatus.Unhealthy, "the pool is draining or disposed"),
            (BreakerState.Open, _) => (StellaPoolStatus.Unhealthy, circuits.Reason),
            (_, not StellaPoolModelState.Loaded) when model.LastFailure is { } error =>
                (StellaPoolStatus.Unhealthy, $"the model could not be loaded{(host.IsModelDisposed ? "" : ", and is tried again")}: {error.Message}"),
            (BreakerState.HalfOpen, _) =>
                (StellaPoolStatus.Degraded, $"a few calls are let through as probes: {circuits.Reason}"),
            (_, StellaPoolModelState.Loading) when model.LoadingFor > services.Options.SlowLoadThreshold =>
                (StellaPoolStatus.Degraded, $"the model has been loading for {model.LoadingFor.TotalSeconds:0} s"),
            _ when longest > LongForward => (StellaPoolStatus.Degraded, $"a batch has been running for {longest.TotalSeconds:0} s"),
            _ when admitted.WaitingCalls > 0 || fill >= NearlyFull => (StellaPoolStatus.Degraded, "the queue is full or nearly so"),
            _ when circuits.Heads is { } heads => (StellaPoolStatus.Degraded, $"calls of one head are refused: {heads}"),
            _ when refused => (StellaPoolStatus.Degraded, "a worker could not be started; the log says why"),
            (_, StellaPoolModelState.Unloaded) => (StellaPoolStatus.Healthy, "the next call loads the model"),
            (_, StellaPoolModelState.Loading) => (StellaPoolStatus.Healthy, "the model is being loaded"),
            _ => (StellaPoolStatus.Healthy, "calls are answered"),
        };
    }
}
