namespace StellaInterop;

/// <summary>Whether a pool can do its work.</summary>
public enum StellaPoolStatus
{
    /// <summary>Calls are taken and answered.</summary>
    Healthy = 0,

    /// <summary>Calls are taken, but something is not as it should be.</summary>
    Degraded = 1,

    /// <summary>Calls are refused or fail.</summary>
    Unhealthy = 2,
}

/// <summary>Where a pool's model is.</summary>
public enum StellaPoolModelState
{
    /// <summary>Not in memory; the next call loads it.</summary>
    Unloaded = 0,

    /// <summary>On its way.</summary>
    Loading = 1,

    /// <summary>In memory, with workers.</summary>
    Loaded = 2,

    /// <summary>The pool is draining or disposed.</summary>
    Closed = 3,
}

/// <summary>The state of a pool at one moment.</summary>
public sealed record StellaPoolHealth
{
    internal StellaPoolHealth()
    {
    }

    /// <summary>Whether it can do its work.</summary>
    public required StellaPoolStatus Status { get; init; }

    /// <summary>Why it is not <see cref="StellaPoolStatus.Healthy"/>, or what it is doing.</summary>
    public required string Reason { get; init; }

    /// <summary>Where the model is.</summary>
    public required StellaPoolModelState Model { get; init; }

    /// <summary>Workers that there are.</summary>
    public required int Workers { get; init; }

    /// <summary>Workers that are at a batch.</summary>
    public required int BusyWorkers { get; init; }

    /// <summary>Calls that are accepted and not answered, or wait to be accepted.</summary>
    public required int QueuedCalls { get; init; }

    /// <summary>Tokens that wait to be computed.</summary>
    public required long QueuedTokens { get; init; }

    /// <summary>The part of the queue that is taken, 0 to 1, by calls or by tokens, whichever is more.</summary>
    public required double QueueFill { get; init; }

    /// <summary>How long the oldest batch has been running.</summary>
    public required TimeSpan LongestForward { get; init; }

    /// <summary>Bytes of the cache of vectors.</summary>
    public required long CacheBytes { get; init; }

    /// <summary>The error of the last load, if it failed.</summary>
    public required Exception? LastLoadError { get; init; }
}
