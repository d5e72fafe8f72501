namespace StellaInterop;

/// <summary>Which calls go first when a pool has more work than it can do at once.</summary>
public enum StellaPriority
{
    /// <summary>Somebody waits for the answer.</summary>
    Interactive = 0,

    /// <summary>
    /// Nobody waits. While interactive calls queue, bulk calls together still get their part of the time, at least a
    /// seventeenth, so that they never starve.
    /// </summary>
    Bulk = 1,
}

/// <summary>What a call does when the pool's queue has no room for it.</summary>
public enum StellaWhenFull
{
    /// <summary>Throws <see cref="StellaOverloadedException"/> at once.</summary>
    Reject = 0,

    /// <summary>Waits for room, in the order of arrival, until its timeout. The call must have one.</summary>
    Wait = 1,
}

/// <summary>What a call does when one of its texts cannot be embedded.</summary>
public enum StellaOnFailedText
{
    /// <summary>Throws that text's error. The rest of the call is not computed.</summary>
    FailCall = 0,

    /// <summary>
    /// Embeds the others. The row of a failed text is zero, and <see cref="StellaCallSummary.Failures"/> names it.
    /// </summary>
    Report = 1,
}

/// <summary>How a pool treats one call, as opposed to how its texts are embedded.</summary>
public sealed record StellaCallOptions
{
    internal static StellaCallOptions Default { get; } = new();

    /// <summary>Which calls go first.</summary>
    public StellaPriority Priority { get; init; } = StellaPriority.Interactive;

    /// <summary>
    /// Time from the call to its answer. At its end the call throws <see cref="StellaTimeoutException"/>, whatever the pool
    /// is doing, and nothing more is computed for it. <see langword="null"/> takes that of the pool.
    /// </summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>What to do when the queue is full.</summary>
    public StellaWhenFull WhenFull { get; init; } = StellaWhenFull.Reject;

    /// <summary>What to do when one of several texts cannot be embedded.</summary>
    public StellaOnFailedText OnFailedText { get; init; } = StellaOnFailedText.FailCall;

    /// <summary>Whether it waits as long as it takes, whatever the timeout of the pool is.</summary>
    internal bool HasNoTimeout { get; init; }

    /// <summary>Whether it is one of the few calls that a stream has at a time, which wait however many others do.</summary>
    internal bool IsPartOfStream { get; init; }
}
