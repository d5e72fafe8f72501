using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace StellaInterop.Extensions;

/// <summary>Specifies the subject of a health check.</summary>
internal enum StellaHealthKind
{
    /// <summary>Checks whether calls are answered.</summary>
    Ready,

    /// <summary>Checks whether the process must be restarted.</summary>
    Live,
}

/// <summary>Reports the health of a pool as a health check.</summary>
internal sealed class StellaHealthCheck(StellaEmbeddingPool pool, StellaHealthKind kind) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        StellaPoolHealth health = pool.GetHealth();
        HealthStatus status = health.Status switch
        {
            // A restart of the process helps only if the pool is closed. A failing model may recover.
            _ when kind == StellaHealthKind.Live && health.ModelState != StellaPoolModelState.Closed => HealthStatus.Healthy,
            StellaPoolStatus.Healthy => HealthStatus.Healthy,
            StellaPoolStatus.Degraded => HealthStatus.Degraded,
            _ => context.Registration.FailureStatus,
        };
        var data = new Dictionary<string, object>
        {
            ["model"] = health.ModelState.ToString(),
            ["workers"] = health.WorkerCount,
            ["busy_workers"] = health.BusyWorkerCount,
            ["queued_calls"] = health.QueuedCallCount,
            ["queued_tokens"] = health.QueuedTokenCount,
            ["queue_fill"] = health.QueueFill,
        };
        return Task.FromResult(new HealthCheckResult(status, health.Reason, health.LastLoadError, data));
    }
}
