using System.Collections.Concurrent;

namespace StellaInterop.Interop;

/// <summary>
/// Sessions of one model that are not in use. A call takes one and brings it back, so that concurrent calls never
/// share a session and a sequence of calls pays for one.
/// </summary>
internal sealed class SessionCache(ModelHandle model, NativeSessionOptions options) : IDisposable
{
    // More idle sessions than processors would only hold memory.
    private static readonly int MaxIdle = Environment.ProcessorCount;

    private readonly ConcurrentBag<SessionHandle> idle = [];
    private volatile bool disposed;

    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public SessionHandle Take()
    {
        ObjectDisposedException.ThrowIf(disposed, typeof(StellaModel));
        return idle.TryTake(out SessionHandle? session) ? session : new SessionHandle(model, options);
    }

    /// <summary>Brings a session back after a call that went well.</summary>
    public void Return(SessionHandle session)
    {
        if (idle.Count >= MaxIdle)
        {
            session.Dispose();
            return;
        }

        idle.Add(session);
        if (disposed)
        {
            // Disposed between the call's start and now: nobody else will come for it.
            Drain();
        }
    }

    public void Dispose()
    {
        disposed = true;
        Drain();
    }

    private void Drain()
    {
        while (idle.TryTake(out SessionHandle? session))
        {
            session.Dispose();
        }
    }
}
