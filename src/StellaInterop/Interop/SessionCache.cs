namespace StellaInterop.Interop;

/// <summary>
/// Sessions of one model that are not in use. A call takes one and brings it back, so that concurrent calls never
/// share a session and a sequence of calls pays for one.
/// </summary>
internal sealed class SessionCache(ModelHandle model, NativeSessionOptions options) : IDisposable
{
    // More idle sessions than processors would only hold memory.
    private static readonly int MaxIdle = Environment.ProcessorCount;

    // The one that came back last is the next to go: its memory is still in the caches.
    private readonly Stack<Session> idle = new(MaxIdle);
    private readonly Lock gate = new();
    private bool disposed;

    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public Session Take()
    {
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, typeof(StellaModel));
            if (idle.TryPop(out Session? session))
            {
                return session;
            }
        }

        return new Session(new SessionHandle(model, options));
    }

    /// <summary>Brings a session back after a call that went well.</summary>
    public void Return(Session session)
    {
        session.Texts.Trim();
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
        Session[] ended;
        lock (gate)
        {
            disposed = true;
            ended = [.. idle];
            idle.Clear();
        }

        Array.ForEach(ended, session => session.Dispose());
    }
}
