using System.Globalization;

namespace StellaInterop;

/// <summary>A call that a pool could not take or finish, for no fault of its texts. Another try may succeed.</summary>
public abstract class StellaPoolException : StellaException
{
    private protected StellaPoolException(
        StellaErrorCode code, string message, TimeSpan? retryAfter, Exception? innerException = null)
        : base(code, message, innerException) => RetryAfter = retryAfter;

    /// <summary>When another try may be worth it; <see langword="null"/> when it will not be on this pool.</summary>
    public TimeSpan? RetryAfter { get; }

    private protected static string Seconds(TimeSpan time) =>
        time.TotalSeconds.ToString(time.TotalSeconds < 10 ? "0.##" : "0", CultureInfo.InvariantCulture) + " s";
}

/// <summary>The queue of a pool is full.</summary>
public sealed class StellaOverloadedException : StellaPoolException
{
    internal StellaOverloadedException(int calls, int callLimit, long tokens, long tokenLimit, TimeSpan retryAfter)
        : base(
            StellaErrorCode.Overloaded,
            $"the queue is full: {calls} of {callLimit} calls, {tokens} of {tokenLimit} tokens; try again in {Seconds(retryAfter)}, or wait for room with WhenFull = Wait",
            retryAfter)
    {
        QueuedCalls = calls;
        CallLimit = callLimit;
        QueuedTokens = tokens;
        TokenLimit = tokenLimit;
    }

    /// <summary>Calls that were accepted and not answered.</summary>
    public int QueuedCalls { get; }

    /// <summary>How many there may be: <see cref="StellaPoolOptions.MaxQueuedCalls"/>.</summary>
    public int CallLimit { get; }

    /// <summary>Tokens for which room in the queue is taken.</summary>
    public long QueuedTokens { get; }

    /// <summary>How many there may be: <see cref="StellaPoolOptions.MaxQueuedTokens"/>.</summary>
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

/// <summary>The pool takes no calls any more: it is draining or disposed.</summary>
public sealed class StellaPoolClosedException : StellaPoolException
{
    internal StellaPoolClosedException(string message)
        : base(StellaErrorCode.PoolClosed, message, retryAfter: null)
    {
    }
}
