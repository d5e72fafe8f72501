using System.Diagnostics.Metrics;
using System.Text.Json.Serialization;
using Microsoft.Extensions.Logging;
using StellaInterop.Pooling;

namespace StellaInterop;

/// <summary>How a pool works. Every default is meant to be kept until a measurement says otherwise.</summary>
public sealed record StellaPoolOptions
{
    /// <summary>The largest value of <see cref="MaxWorkers"/>.</summary>
    public const int WorkersLimit = 256;

    /// <summary>
    /// The longest time of any option, 23:59:59. A bare number in configuration means days in .NET, so a time of days is refused.
    /// </summary>
    public static readonly TimeSpan LongestTime = PoolTimes.LongestOption;

    /// <summary>Threads of a worker by default, where there are as many processors: more help one forward ever less.</summary>
    private const int DefaultThreads = 8;

    /// <summary>How the model is loaded. Its <see cref="StellaModelOptions.Threads"/> are those of one worker.</summary>
    public StellaModelOptions Model { get; init; } = new();

    /// <summary>
    /// Workers that stay when there is nothing to do. With 0 the model is unloaded after <see cref="IdleTimeout"/>, and
    /// loaded again by the next call. An idle model may also be unloaded to make room in the memory budget for another.
    /// </summary>
    public int MinWorkers { get; init; } = 1;

    /// <summary>
    /// Workers that there may be, 1 to 256. Each takes memory for one batch; weights are shared.
    /// <see langword="null"/> takes as many as have processors of their own.
    /// </summary>
    public int? MaxWorkers { get; init; }

    /// <summary>
    /// Tokens of one batch, 1 to 1048576. More make a forward no faster per token, and interactive calls wait longer for
    /// it. A text as long as it may be always fits.
    /// </summary>
    public int BatchTokens { get; init; } = StellaModel.BatchTokens;

    /// <summary>Calls that may be accepted and not answered.</summary>
    public int MaxQueuedCalls { get; init; } = 1024;

    /// <summary>
    /// Tokens that may wait, at least twice <see cref="BatchTokens"/>. A call of more than fits into a batch takes room
    /// for two batches, however long it is: the rest is tokenized when its turn comes. <see langword="null"/> takes 64
    /// batches.
    /// </summary>
    public long? MaxQueuedTokens { get; init; }

    /// <summary>
    /// Gets the share of <see cref="MaxQueuedCalls"/> and of <see cref="MaxQueuedTokens"/> that bulk calls may hold together,
    /// above 0 and at most 1; 0.75 by default. The rest is always free for interactive calls, so that bulk work cannot shut them
    /// out. Room for one bulk call of one batch is there whatever the share is.
    /// </summary>
    public double BulkShare { get; init; } = 0.75;

    /// <summary>Time of calls that name none; <see langword="null"/> for no limit.</summary>
    public TimeSpan? DefaultTimeout { get; init; }

    /// <summary>After this time without work a worker beyond <see cref="MinWorkers"/> ends.</summary>
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>
    /// Gets the time after which a load that is still going on makes the pool <see cref="StellaPoolStatus.Degraded"/>; one minute
    /// by default. The load itself has no limit.
    /// </summary>
    public TimeSpan LongLoad { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>How long <see cref="StellaEmbeddingPool.DisposeAsync"/> waits for accepted calls.</summary>
    public TimeSpan DrainTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// Gets the number of failures in a row after which calls are refused. Loads count together, and forward passes by the head
    /// that they are for: a head that fails is refused alone. A failure that ends in one bad text does not count.
    /// </summary>
    public int BreakerFailures { get; init; } = 5;

    /// <summary>
    /// Gets the number of workers replaced within <see cref="BreakerWindow"/> after which calls are refused. A worker that one bad
    /// text broke does not count.
    /// </summary>
    public int BreakerReplacements { get; init; } = 5;

    /// <summary>The time in which replaced workers are counted.</summary>
    public TimeSpan BreakerWindow { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>How long calls are refused before some are let through to see.</summary>
    public TimeSpan BreakerPause { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Calls that are let through at once to see, after the pause.</summary>
    public int BreakerProbes { get; init; } = 2;

    /// <summary>
    /// Bytes of vectors that are kept for texts that come again; 0, the default, keeps none. Those used longest ago go
    /// first.
    /// </summary>
    public long CacheBytes { get; init; }

    /// <summary>
    /// The budget that the model and the workers are reserved in; <see langword="null"/> for
    /// <see cref="StellaMemoryGovernor.Shared"/>.
    /// </summary>
    [JsonIgnore]
    public StellaMemoryGovernor? Governor { get; init; }

    /// <summary>The clock of timeouts and everything else that waits.</summary>
    [JsonIgnore]
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>
    /// Where the meter <c>StellaInterop</c> is made; <see langword="null"/> for one of the pool's own, which listeners see
    /// just as well.
    /// </summary>
    [JsonIgnore]
    public IMeterFactory? MeterFactory { get; init; }

    /// <summary>The destination of the pool's log; <see langword="null"/> for that of <see cref="Model"/>.</summary>
    [JsonIgnore]
    public ILoggerFactory? LoggerFactory { get; init; }

    /// <summary>Gets what starts every thread of the pool. Tests replace it to refuse threads, as the system does at a limit.</summary>
    internal Action<Thread> StartThread { get; init; } = static thread => thread.UnsafeStart();

    /// <summary>Gets the time to wait for workers to end. A forward stops at its next layer; a worker that takes longer hangs.</summary>
    internal TimeSpan JoinTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Tokens of a batch before the model was loaded, a text as long as it may be included.</summary>
    internal int EffectiveBatchTokens => Math.Max(BatchTokens, Model.MaxTokens ?? StellaModelOptions.DefaultMaxTokens);

    /// <summary>Threads of a worker.</summary>
    internal int EffectiveThreads => Model.Threads ?? Math.Min(Environment.ProcessorCount, DefaultThreads);

    internal int EffectiveMaxWorkers =>
        Math.Max(MinWorkers, MaxWorkers ?? Math.Max(1, Environment.ProcessorCount / EffectiveThreads));

    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range; the message says which.</exception>
    internal void Check()
    {
        ArgumentNullException.ThrowIfNull(Model);
        ArgumentNullException.ThrowIfNull(TimeProvider);
        ThrowIfOutside(MinWorkers, 0, WorkersLimit, nameof(MinWorkers));
        ThrowIfOutside(MaxWorkers ?? 1, 1, WorkersLimit, nameof(MaxWorkers));
        if (MinWorkers > (MaxWorkers ?? WorkersLimit))
        {
            throw new ArgumentOutOfRangeException(nameof(MinWorkers), MinWorkers, $"{nameof(MinWorkers)} must not be above {nameof(MaxWorkers)}, {MaxWorkers}.");
        }

        ThrowIfOutside(BatchTokens, 1, 1 << 20, nameof(BatchTokens));
        ThrowIfOutside(MaxQueuedCalls, 1, int.MaxValue, nameof(MaxQueuedCalls));
        if (MaxQueuedTokens < 2L * EffectiveBatchTokens)
        {
            throw new ArgumentOutOfRangeException(
                nameof(MaxQueuedTokens),
                MaxQueuedTokens,
                $"{nameof(MaxQueuedTokens)} must hold at least two batches of {EffectiveBatchTokens} tokens.");
        }

        if (!(BulkShare > 0 && BulkShare <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(BulkShare), BulkShare, $"{nameof(BulkShare)} must be above 0 and at most 1.");
        }

        ThrowIfOutside(BreakerFailures, 1, int.MaxValue, nameof(BreakerFailures));
        ThrowIfOutside(BreakerReplacements, 1, int.MaxValue, nameof(BreakerReplacements));
        ThrowIfOutside(BreakerProbes, 1, int.MaxValue, nameof(BreakerProbes));
        ThrowIfOutside(CacheBytes, 0, long.MaxValue, nameof(CacheBytes));
        PoolTimes.ThrowIfNotPositive(DefaultTimeout, nameof(DefaultTimeout));
        PoolTimes.ThrowIfNotPositive(IdleTimeout, nameof(IdleTimeout));
        PoolTimes.ThrowIfNotPositive(LongLoad, nameof(LongLoad));
        PoolTimes.ThrowIfNotPositive(BreakerWindow, nameof(BreakerWindow));
        PoolTimes.ThrowIfNotPositive(BreakerPause, nameof(BreakerPause));
        PoolTimes.ThrowIfNegative(DrainTimeout, nameof(DrainTimeout));
    }

    private static void ThrowIfOutside(long number, long least, long most, string name)
    {
        if (number < least || number > most)
        {
            throw new ArgumentOutOfRangeException(name, number, $"{name} must be {least} to {most}.");
        }
    }
}
