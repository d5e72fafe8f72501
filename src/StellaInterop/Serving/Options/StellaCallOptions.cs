namespace StellaInterop;

/// <summary>Specifies which calls a busy pool serves first.</summary>
public enum StellaPriority
{
    /// <summary>A call whose answer a user waits for.</summary>
    Interactive = 0,

    /// <summary>
    /// Background work. While interactive calls are queued, all bulk calls together get one token in seventeen, so that they never
    /// starve.
    /// </summary>
    Bulk = 1,
}

/// <summary>Specifies what a call does when the pool's queue has no room for it.</summary>
public enum StellaQueueFullMode
{
    /// <summary>Throws <see cref="StellaOverloadedException"/> at once.</summary>
    Reject = 0,

    /// <summary>
    /// Waits for room, in order of arrival, until its timeout. A call that is not a stream must have a timeout. If as many calls of its
    /// priority wait as the queue may hold, it throws <see cref="StellaOverloadedException"/> at once.
    /// </summary>
    Wait = 1,
}

/// <summary>Specifies what a call does when one of its texts cannot be embedded.</summary>
public enum StellaTextFailureMode
{
    /// <summary>Throws the error of that text. The rest of the call is not computed.</summary>
    FailCall = 0,

    /// <summary>
    /// Embeds the other texts. The row of the failed text is zero, and <see cref="StellaCallSummary.Failures"/> or
    /// <see cref="StellaTextEmbedding.Error"/> has its error. A call that returns one vector refuses this value.
    /// </summary>
    Report = 1,
}

/// <summary>Provides options for one call of a pool. <see cref="StellaEmbedOptions"/> has the options of its texts.</summary>
/// <remarks>Immutable and thread-safe.</remarks>
public sealed record StellaCallOptions
{
    internal static StellaCallOptions Default { get; } = new();

    /// <summary>
    /// Gets the priority of the call; <see langword="null"/>, the default, for <see cref="StellaPriority.Interactive"/>, and for
    /// <see cref="StellaPriority.Bulk"/> of a stream.
    /// </summary>
    public StellaPriority? Priority { get; init; }

    /// <summary>
    /// Gets the time from the call to its answer, above 0 and below a day. At its end the call throws
    /// <see cref="StellaTimeoutException"/>, whatever the pool is doing, and nothing more is computed for it. <see langword="null"/>, the
    /// default, takes <see cref="StellaPoolOptions.DefaultTimeout"/>, and no timeout for a stream.
    /// </summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>Gets what the call does when the queue is full; <see cref="StellaQueueFullMode.Reject"/> by default.</summary>
    public StellaQueueFullMode QueueFullMode { get; init; } = StellaQueueFullMode.Reject;

    /// <summary>
    /// Gets what the call does when one of its texts cannot be embedded; <see cref="StellaTextFailureMode.FailCall"/> by default.
    /// </summary>
    public StellaTextFailureMode TextFailureMode { get; init; } = StellaTextFailureMode.FailCall;

    /// <summary>
    /// Gets the name of the group that the call belongs to, such as a tenant or an API key. Groups take turns, so that a group with many calls
    /// gets no more than one with few. Of the queue, a group may hold only as much as it leaves free, and the pool refuses its calls or lets
    /// them wait beyond that. Names are compared by ordinal. <see langword="null"/>, the default, makes the call a group of its own.
    /// </summary>
    public string? FairnessGroup { get; init; }

    /// <summary>Whether the call has no timeout, even if the pool has a default one.</summary>
    internal bool HasNoTimeout { get; init; }

    /// <summary>
    /// Whether the call is a part of a stream. Such a call may wait for room even behind a full waiting line, because a stream has few calls
    /// at a time.
    /// </summary>
    internal bool IsPartOfStream { get; init; }

    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    internal void Check()
    {
        Guard.ThrowIf(Guard.Positive(nameof(Timeout), Timeout));
        Guard.ThrowIf(Guard.Defined(nameof(Priority), Priority ?? StellaPriority.Interactive));
        Guard.ThrowIf(Guard.Defined(nameof(QueueFullMode), QueueFullMode));
        Guard.ThrowIf(Guard.Defined(nameof(TextFailureMode), TextFailureMode));
    }
}
