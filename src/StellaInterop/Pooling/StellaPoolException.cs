using System.Globalization;

namespace StellaInterop;

/// <summary>A call that a pool could not take or finish, for no fault of its texts. Another try may succeed.</summary>
public abstract class StellaPoolException : StellaException
{
    private protected StellaPoolException(
        StellaErrorCode code, string message, TimeSpan? retryAfter, Exception? innerException = null)
        : base(code, message, innerException) => RetryAfter = retryAfter;

    /// <summary>
    /// Gets the time to wait before another attempt: above zero if the queue is full or the circuit is open, zero after a timeout, and
    /// <see langword="null"/> if the pool is closed.
    /// </summary>
    public TimeSpan? RetryAfter { get; }

    private protected static string Seconds(TimeSpan time) =>
        time.TotalSeconds.ToString(time.TotalSeconds < 10 ? "0.##" : "0", CultureInfo.InvariantCulture) + " s";
}

/// <summary>The queue of a pool is full.</summary>
public sealed class StellaOverloadedException : StellaPoolException
{
    internal StellaOverloadedException(string priority, int calls, int callLimit, long tokens, long tokenLimit, TimeSpan retryAfter)
        : base(
            StellaErrorCode.Overloaded,
            $"The queue is full for {priority} calls: {calls} of {callLimit} calls, {tokens} of {tokenLimit} tokens. Try again in {Seconds(retryAfter)}, or wait for room with QueueFullMode = Wait.",
            retryAfter)
    {
        QueuedCallCount = calls;
        CallLimit = callLimit;
        QueuedTokenCount = tokens;
        TokenLimit = tokenLimit;
    }

    /// <summary>Gets the number of calls that were accepted and not answered. For a bulk call, those of its priority.</summary>
    public int QueuedCallCount { get; }

    /// <summary>
    /// Gets how many there may be: <see cref="StellaPoolOptions.MaxQueuedCalls"/>, or the <see cref="StellaPoolOptions.BulkShare"/>
    /// of it.
    /// </summary>
    public int CallLimit { get; }

    /// <summary>Gets the number of tokens for which room in the queue is reserved. For a bulk call, by those of its priority.</summary>
    public long QueuedTokenCount { get; }

    /// <summary>
    /// Gets how many there may be: <see cref="StellaPoolOptions.MaxQueuedTokens"/>, or the <see cref="StellaPoolOptions.BulkShare"/>
    /// of it.
    /// </summary>
    public long TokenLimit { get; }
}

/// <summary>A call's time is over.</summary>
public sealed class StellaTimeoutException : StellaPoolException
{
    internal StellaTimeoutException(TimeSpan timeout, int done, int texts)
        : base(
            StellaErrorCode.TimedOut,
            $"the call was not answered within {Seconds(timeout)}; {done} of its {texts} texts were done",
            retryAfter: TimeSpan.Zero) => Timeout = timeout;

    /// <summary>The time that the call had.</summary>
    public TimeSpan Timeout { get; }
}

/// <summary>The model failed again and again, so that calls are refused for a while.</summary>
public sealed class StellaCircuitOpenException : StellaPoolException
{
    internal StellaCircuitOpenException(string reason, TimeSpan retryAfter, Exception? lastFailure)
        : base(
            StellaErrorCode.CircuitOpen,
            $"calls are refused for {Seconds(retryAfter)}: {reason}",
            retryAfter,
            lastFailure)
    {
    }
}

/// <summary>
/// The pool takes no more calls because it is draining, or the call had no answer when the pool was closed. A call after
/// <see cref="StellaEmbeddingPool.Dispose"/> throws <see cref="ObjectDisposedException"/>.
/// </summary>
public sealed class StellaPoolClosedException : StellaPoolException
{
    internal StellaPoolClosedException(string message)
        : base(StellaErrorCode.PoolClosed, message, retryAfter: null)
    {
    }
}
