using System.ComponentModel.DataAnnotations;
using System.Diagnostics.Metrics;
using System.Text.Json.Serialization;
using Microsoft.Extensions.Logging;
using StellaInterop.Serving;

namespace StellaInterop;

/// <summary>Provides options for a pool. Keep each default until a measurement says otherwise.</summary>
/// <remarks>
/// Times are below a day, because a bare number in configuration means days in .NET. Not thread-safe while it is being changed. The
/// constructors of <see cref="StellaEmbeddingPool"/> copy it, so that later changes have no effect.
/// </remarks>
public sealed record StellaPoolOptions : IValidatableObject
{
    /// <summary>The largest number of workers.</summary>
    internal const int WorkersLimit = 256;

    /// <summary>
    /// The default number of threads of a worker, on a machine with at least as many processors. Further threads hardly speed up a forward
    /// pass.
    /// </summary>
    private const int DefaultThreads = 8;

    /// <summary>
    /// Gets or sets the number of workers that stay when there is nothing to do, 0 to 256; 1 by default. With 0 the model is unloaded
    /// after <see cref="IdleTimeout"/>, and the next call loads it again. An idle model may also be unloaded to make room in the
    /// memory budget for another.
    /// </summary>
    public int MinWorkers { get; set; } = 1;

    /// <summary>
    /// Gets or sets the largest number of workers, 1 to 256 and at least <see cref="MinWorkers"/>. <see langword="null"/>, the default, takes
    /// the number of processors divided by the <see cref="StellaModelOptions.Threads"/> of a worker, at least 1. More workers than that
    /// compete for processors. Each worker needs memory for one batch; all share the weights.
    /// </summary>
    public int? MaxWorkers { get; set; }

    /// <summary>
    /// Gets or sets the largest number of tokens of a batch, 1 to 1048576; 512 by default. A larger batch is no faster per token, and
    /// interactive calls wait longer for its end. A text of the largest length always fits, whatever this is.
    /// </summary>
    public int MaxBatchTokens { get; set; } = ModelLimits.DefaultBatchTokens;

    /// <summary>
    /// Gets or sets the largest number of calls that are accepted and not answered yet, at least 1; 1024 by default. Calls beside the queue,
    /// such as those of <see cref="StellaEmbeddingPool.TokenizeAsync"/>, count apart and have the same limit.
    /// </summary>
    public int MaxQueuedCalls { get; set; } = 1024;

    /// <summary>
    /// Gets or sets the largest number of queued tokens, at least twice <see cref="MaxBatchTokens"/>. A call takes the room of at most two
    /// batches, however long it is, because its rest is tokenized later. <see langword="null"/>, the default, takes 64 batches. If texts
    /// may be longer than <see cref="MaxBatchTokens"/>, the queue holds at least two of the longest.
    /// </summary>
    public long? MaxQueuedTokens { get; set; }

    /// <summary>
    /// Gets or sets the share of <see cref="MaxQueuedCalls"/> and of <see cref="MaxQueuedTokens"/> that bulk calls may hold together,
    /// above 0 and at most 1; 0.75 by default. The rest is always free for interactive calls, so that bulk work cannot shut them
    /// out. There is always room for one bulk call of one batch.
    /// </summary>
    public double BulkShare { get; set; } = 0.75;

    /// <summary>
    /// Gets or sets the timeout of calls that name none, above 0; <see langword="null"/>, the default, for no limit.
    /// </summary>
    public TimeSpan? DefaultTimeout { get; set; }

    /// <summary>
    /// Gets or sets the time without work after which a worker beyond <see cref="MinWorkers"/> ends, above 0; 5 minutes by default.
    /// </summary>
    public TimeSpan IdleTimeout { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>
    /// Gets or sets the time after which an unfinished load makes the pool <see cref="StellaPoolStatus.Degraded"/>, above 0; one minute
    /// by default. The load itself has no limit.
    /// </summary>
    public TimeSpan SlowLoadThreshold { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>
    /// Gets or sets how long <see cref="StellaEmbeddingPool.DisposeAsync"/> waits for accepted calls, 0 or more; 30 seconds by default.
    /// </summary>
    public TimeSpan DrainTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Gets or sets the options of the circuit breaker. A copy of these options by <c>with</c> shares the object.</summary>
    public StellaCircuitBreakerOptions CircuitBreaker { get; set; } = new();

    /// <summary>
    /// Gets or sets the size in bytes of the cache of vectors for repeated texts; 0, the default, disables it. The least recently used
    /// vectors are dropped first.
    /// </summary>
    public long MaxCacheBytes { get; set; }

    /// <summary>
    /// Gets or sets the memory budget in which the pool reserves its model and its workers; <see langword="null"/> for
    /// <see cref="StellaMemoryGovernor.Shared"/>.
    /// </summary>
    [JsonIgnore]
    public StellaMemoryGovernor? Governor { get; set; }

    /// <summary>Gets or sets the clock of all timeouts and pauses; the system's by default.</summary>
    [JsonIgnore]
    public TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <summary>
    /// Gets or sets the factory of the meter <see cref="StellaTelemetry.MeterName"/>; <see langword="null"/> for a meter of the pool's
    /// own, which listeners see just as well.
    /// </summary>
    [JsonIgnore]
    public IMeterFactory? MeterFactory { get; set; }

    /// <summary>
    /// Gets or sets the destination of the pool's log records; <see langword="null"/> for
    /// <see cref="StellaModelOptions.LoggerFactory"/> of the model.
    /// </summary>
    [JsonIgnore]
    public ILoggerFactory? LoggerFactory { get; set; }

    /// <summary>Gets or sets how the pool's model is loaded. The constructors of the pool set it.</summary>
    internal StellaModelOptions Model { get; set; } = new();

    /// <summary>Gets the action that starts each thread of the pool. Tests replace it to refuse threads, as the system does at a limit.</summary>
    internal Action<Thread> StartThread { get; init; } = static thread => thread.UnsafeStart();

    /// <summary>Gets the time to wait for workers to end. A forward pass stops at its next layer; a worker that takes longer hangs.</summary>
    internal TimeSpan JoinTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>The largest number of tokens of a batch before the first load: room for at least one text of the largest length.</summary>
    internal int EffectiveBatchTokens => Math.Max(MaxBatchTokens, Model.MaxTokens ?? ModelLimits.DefaultTextTokens);

    /// <summary>The number of threads of a worker.</summary>
    internal int EffectiveThreads => Model.Threads ?? Math.Min(Environment.ProcessorCount, DefaultThreads);

    internal int EffectiveMaxWorkers =>
        Math.Max(MinWorkers, MaxWorkers ?? Math.Max(1, Environment.ProcessorCount / EffectiveThreads));

    /// <summary>Checks the options, and returns a copy of them with a copy of the model's options.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range; the message says which.</exception>
    /// <exception cref="ArgumentNullException">The circuit breaker or the clock is null.</exception>
    internal StellaPoolOptions Copy(StellaModelOptions model)
    {
        ArgumentNullException.ThrowIfNull(CircuitBreaker);
        ArgumentNullException.ThrowIfNull(TimeProvider);
        model.Check();
        Guard.ThrowFirst(Errors());
        return this with { Model = model with { }, CircuitBreaker = CircuitBreaker with { } };
    }

    /// <summary>Returns an error for each option that is outside its range.</summary>
    IEnumerable<ValidationResult> IValidatableObject.Validate(ValidationContext validationContext) => Guard.Results(Errors());

    private IEnumerable<OptionError> Errors() => Guard.All(
    [
        Guard.Range(nameof(MinWorkers), MinWorkers, 0, WorkersLimit),
        Guard.Range(nameof(MaxWorkers), MaxWorkers, 1, WorkersLimit),
        MinWorkers > (MaxWorkers ?? WorkersLimit)
            ? new OptionError(nameof(MinWorkers), MinWorkers, $"{nameof(MinWorkers)} must not be above {nameof(MaxWorkers)}, {MaxWorkers}.")
            : null,
        Guard.Range(nameof(MaxBatchTokens), MaxBatchTokens, 1, ModelLimits.MaxBatchTokens),
        Guard.Range(nameof(MaxQueuedCalls), MaxQueuedCalls, 1, int.MaxValue),
        MaxQueuedTokens < 2L * MaxBatchTokens
            ? new OptionError(
                nameof(MaxQueuedTokens),
                MaxQueuedTokens,
                $"{nameof(MaxQueuedTokens)} must hold at least two batches of {MaxBatchTokens} tokens.")
            : null,
        Guard.Share(nameof(BulkShare), BulkShare),
        Guard.Range(nameof(MaxCacheBytes), MaxCacheBytes, 0, long.MaxValue),
        Guard.Positive(nameof(DefaultTimeout), DefaultTimeout),
        Guard.Positive(nameof(IdleTimeout), IdleTimeout),
        Guard.Positive(nameof(SlowLoadThreshold), SlowLoadThreshold),
        Guard.NotNegative(nameof(DrainTimeout), DrainTimeout),
        Guard.NotNull(nameof(TimeProvider), TimeProvider),
        Guard.NotNull(nameof(CircuitBreaker), CircuitBreaker),
        .. Guard.Under(nameof(CircuitBreaker), CircuitBreaker?.Errors() ?? []),
    ]);
}
