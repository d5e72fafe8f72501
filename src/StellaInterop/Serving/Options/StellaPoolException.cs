using System.Globalization;

namespace StellaInterop;

/// <summary>Represents the error of a call that a pool refused or could not finish, for a reason other than its texts.</summary>
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

/// <summary>Represents the refusal of a call by a pool whose queue is full.</summary>
public sealed class StellaOverloadedException : StellaPoolException
{
    internal StellaOverloadedException(
        string kind, int calls, int callLimit, long tokens, long tokenLimit, TimeSpan retryAfter)
        : base(
            StellaErrorCode.Overloaded,
            $"The queue is full for {kind}: {calls} of {callLimit} calls, {tokens} of {tokenLimit} tokens. Try again in {Seconds(retryAfter)}, or wait for room with QueueFullMode = Wait.",
            retryAfter)
    {
        QueuedCallCount = calls;
        MaxQueuedCalls = callLimit;
        ReservedTokenCount = tokens;
        MaxQueuedTokens = tokenLimit;
    }

    /// <param name="calls">The number of calls that run or wait beside the queue.</param>
    /// <param name="callLimit">Their limit.</param>
    /// <param name="retryAfter">The time to wait before another attempt.</param>
    internal StellaOverloadedException(int calls, int callLimit, TimeSpan retryAfter)
        : base(
            StellaErrorCode.Overloaded,
            $"{calls} of {callLimit} calls tokenize, or compute hidden states or parts of a text, or wait for it. Try again in {Seconds(retryAfter)}.",
            retryAfter)
    {
        QueuedCallCount = calls;
        MaxQueuedCalls = callLimit;
    }

    /// <summary>
    /// Gets the number of calls that had no answer yet, accepted or waiting for room. For a bulk call, only bulk calls count; for an
    /// interactive call, accepted calls of both priorities and waiting interactive calls.
    /// </summary>
    public int QueuedCallCount { get; }

    /// <summary>
    /// Gets the limit of accepted calls: <see cref="StellaPoolOptions.MaxQueuedCalls"/>, or for a bulk call the
    /// <see cref="StellaPoolOptions.BulkShare"/> of it, at least 1.
    /// </summary>
    public int MaxQueuedCalls { get; }

    /// <summary>
    /// Gets the number of tokens for which accepted calls reserve room in the queue. For a bulk call, only bulk calls count. Calls beside the
    /// queue reserve none.
    /// </summary>
    public long ReservedTokenCount { get; }

    /// <summary>
    /// Gets the limit of reserved tokens: <see cref="StellaPoolOptions.MaxQueuedTokens"/>, or for a bulk call the
    /// <see cref="StellaPoolOptions.BulkShare"/> of it, at least one batch. 0 for a call beside the queue.
    /// </summary>
    public long MaxQueuedTokens { get; }
}

/// <summary>Represents the error of a call that a pool did not answer within its timeout.</summary>
public sealed class StellaTimeoutException : StellaPoolException
{
    internal StellaTimeoutException(TimeSpan timeout, int done, int texts)
        : base(
            StellaErrorCode.TimedOut,
            $"The call was not answered within {Seconds(timeout)}: {done} of its {texts} texts were done. Allow more time or send fewer texts.",
            retryAfter: TimeSpan.Zero) => Timeout = timeout;

    /// <summary>Gets the timeout of the call.</summary>
    public TimeSpan Timeout { get; }
}

/// <summary>
/// Represents the refusal of a call by a pool whose model failed so often that its circuit breaker is open.
/// <see cref="Exception.InnerException"/> is the last failure.
/// </summary>
public sealed class StellaCircuitOpenException : StellaPoolException
{
    internal StellaCircuitOpenException(string reason, TimeSpan retryAfter, Exception? lastFailure)
        : base(
            StellaErrorCode.CircuitOpen,
            $"Calls are refused for {Seconds(retryAfter)}, because {reason}",
            retryAfter,
            lastFailure)
    {
    }
}

/// <summary>
/// Represents the refusal of a call by a pool that is draining, or the end of a call that had no answer when its pool was closed.
/// </summary>
/// <remarks>A call after <see cref="StellaEmbeddingPool.Dispose"/> throws <see cref="ObjectDisposedException"/>.</remarks>
public sealed class StellaPoolClosedException : StellaPoolException
{
    internal StellaPoolClosedException(string message)
        : base(StellaErrorCode.PoolClosed, message, retryAfter: null)
    {
    }
}
