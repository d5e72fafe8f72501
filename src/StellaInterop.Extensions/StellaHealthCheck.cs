using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace StellaInterop.Extensions;

internal enum StellaHealthKind
{
    /// <summary>Whether calls are answered.</summary>
    Ready,

    /// <summary>Whether the process should go on.</summary>
    Live,
}

/// <summary>The health of a pool as a health check.</summary>
internal sealed class StellaHealthCheck(StellaEmbeddingPool pool, StellaHealthKind kind) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        StellaPoolHealth health = pool.GetHealth();
        HealthStatus status = health.Status switch
        {
            // A failing model needs repair or patience. Only a closed pool needs a restart of the process.
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
