using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The objects of a pool that its calls, its model and its workers share.</summary>
internal sealed record PoolServices(
    StellaPoolOptions Options,
    PoolLimits Limits,
    PoolClock Clock,
    Admission Admission,
    Scheduler Scheduler,
    CircuitBreaker Breaker,
    ResultCache? Cache,
    PoolTelemetry Telemetry);
