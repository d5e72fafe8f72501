namespace StellaInterop.Interop;

/// <summary>
/// Keeps the idle sessions of one model. Each call rents a session and returns it, so that concurrent calls never share a session, and
/// consecutive calls start only one. Thread-safe.
/// </summary>
/// <param name="model">The model.</param>
/// <param name="threads">The number of threads of a session; 0 for one per processor.</param>
/// <param name="maxBatchTokens">The largest number of tokens of a native call.</param>
/// <param name="owner">The type of the disposed object in an <see cref="ObjectDisposedException"/>.</param>
internal sealed class SessionCache(ModelHandle model, int threads, int maxBatchTokens, Type owner) : IDisposable
{
    // At most one running call per processor makes sense. More idle sessions would only hold memory.
    private static readonly int MaxIdle = Environment.ProcessorCount;

    // A stack, because the memory of the last returned session is still in the processor's caches.
    private readonly Stack<BufferedSession> idle = new(MaxIdle);
    private readonly Lock gate = new();
    private bool disposed;

    /// <summary>Returns an idle session, or starts a session.</summary>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public BufferedSession Rent()
    {
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, owner);
            if (idle.TryPop(out BufferedSession? session))
            {
                return session;
            }
        }

        return new BufferedSession(new SessionHandle(model, threads, maxBatchTokens));
    }

    /// <summary>Returns a session that can be used again.</summary>
    public void Return(BufferedSession session)
    {
        session.Buffers.Trim();
        lock (gate)
        {
            if (!disposed && idle.Count < MaxIdle)
            {
                idle.Push(session);
                return;
            }
        }

        session.Dispose();
    }

    public void Dispose()
    {
        BufferedSession[] sessions;
        lock (gate)
        {
            disposed = true;
            sessions = [.. idle];
            idle.Clear();
        }

        Array.ForEach(sessions, session => session.Dispose());
    }
}
