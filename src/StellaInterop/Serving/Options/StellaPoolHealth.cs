namespace StellaInterop;

/// <summary>Specifies whether a pool answers calls.</summary>
public enum StellaPoolStatus
{
    /// <summary>The pool accepts and answers calls.</summary>
    Healthy = 0,

    /// <summary>The pool accepts calls, but answers late or only some of them; <see cref="StellaPoolHealth.Reason"/> says why.</summary>
    Degraded = 1,

    /// <summary>Calls are refused or fail.</summary>
    Unhealthy = 2,
}

/// <summary>Specifies the state of a pool's model.</summary>
public enum StellaPoolModelState
{
    /// <summary>The model is not in memory; the next call loads it.</summary>
    Unloaded = 0,

    /// <summary>The model is being loaded.</summary>
    Loading = 1,

    /// <summary>The model is in memory and has workers.</summary>
    Loaded = 2,

    /// <summary>The pool is draining or disposed.</summary>
    Closed = 3,
}

/// <summary>Represents the state of a pool at one moment.</summary>
public sealed record StellaPoolHealth
{
    internal StellaPoolHealth()
    {
    }

    /// <summary>Gets whether the pool answers calls.</summary>
    public required StellaPoolStatus Status { get; init; }

    /// <summary>Gets the reason for <see cref="Status"/> in words, also if it is <see cref="StellaPoolStatus.Healthy"/>.</summary>
    public required string Reason { get; init; }

    /// <summary>Gets the state of the model.</summary>
    public required StellaPoolModelState ModelState { get; init; }

    /// <summary>Gets the number of workers.</summary>
    public required int WorkerCount { get; init; }

    /// <summary>Gets the number of workers that run a batch.</summary>
    public required int BusyWorkerCount { get; init; }

    /// <summary>Gets the number of calls that have no answer yet, accepted or waiting for room.</summary>
    public required int QueuedCallCount { get; init; }

    /// <summary>Gets the number of tokens that wait for a worker.</summary>
    public required long QueuedTokenCount { get; init; }

    /// <summary>Gets the share of the queue that is taken, 0 to 1, by calls or by tokens, whichever is larger.</summary>
    public required double QueueFill { get; init; }

    /// <summary>Gets the time for which the oldest running batch has been running; zero if no batch runs.</summary>
    public required TimeSpan LongestForwardPass { get; init; }

    /// <summary>Gets the size of the cache of vectors in bytes.</summary>
    public required long CacheBytes { get; init; }

    /// <summary>
    /// Gets the error of the last load, or the error that ended the last worker; <see langword="null"/> after a load that succeeded, and
    /// before the first.
    /// </summary>
    public required Exception? LastLoadError { get; init; }
}
