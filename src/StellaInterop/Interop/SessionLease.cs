namespace StellaInterop.Interop;

/// <summary>Rents a session for one call of a model. Dispose returns the session, or frees it if the call broke it.</summary>
internal ref struct SessionLease : IDisposable
{
    private readonly SessionCache sessions;
    private readonly CancellationToken cancellationToken;
    private bool broken;

    public SessionLease(SessionCache sessions, CancellationToken cancellationToken)
    {
        this.sessions = sessions;
        this.cancellationToken = cancellationToken;
        Session = sessions.Rent();
    }

    public BufferedSession Session { get; }

    /// <summary>
    /// Records an error of the call. Replaces a native cancellation by one that has the token of the caller.
    /// </summary>
    /// <param name="error">The error.</param>
    /// <param name="replacement">The exception to throw instead, if the result is <see langword="true"/>.</param>
    public bool Replaces(Exception error, out Exception replacement)
    {
        // After a panic a session refuses further calls, so it is freed and the next call starts another one.
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
