namespace StellaInterop.Interop;

/// <summary>A session for the length of one call of a model.</summary>
internal ref struct SessionLease : IDisposable
{
    private readonly SessionCache sessions;
    private readonly CancellationToken cancellationToken;
    private bool broken;

    public SessionLease(SessionCache sessions, CancellationToken cancellationToken)
    {
        this.sessions = sessions;
        this.cancellationToken = cancellationToken;
        Session = sessions.Take();
    }

    public Session Session { get; }

    /// <summary>
    /// Whether the call's caller gets another error than <paramref name="error"/>: a cancellation that names the token.
    /// Notes on the way whether the session can be used again.
    /// </summary>
    public bool Replaces(Exception error, out Exception replacement)
    {
        // After a panic a session refuses further calls, so the next caller gets another one.
        broken |= error is StellaException { Code: StellaErrorCode.Panic };
        replacement = error is OperationCanceledException
            ? new OperationCanceledException(error.Message, error, cancellationToken)
            : error;
        return !ReferenceEquals(replacement, error);
    }

    public readonly void Dispose()
    {
        if (broken)
        {
            Session.Dispose();
        }
        else
        {
            sessions.Return(Session);
        }
    }
}
