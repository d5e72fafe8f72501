using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>Counts the calls of a pool that have no answer, and tells when the last of them has one. Thread-safe.</summary>
internal sealed class CallCounter
{
    private readonly Lock gate = new();
    private readonly Signal drained = new();
    private int calls;
    private bool closed;

    public int Count
    {
        get
        {
            lock (gate)
            {
                return calls;
            }
        }
    }

    public bool IsClosed
    {
        get
        {
            lock (gate)
            {
                return closed;
            }
        }
    }

    /// <summary>Counts a call, unless no more are taken.</summary>
    public bool TryEnter()
    {
        lock (gate)
        {
            calls += closed ? 0 : 1;
            return !closed;
        }
    }

    public void Leave()
    {
        lock (gate)
        {
            calls--;
            TellIfDrained();
        }
    }

    /// <summary>Waits until no calls are taken any more and all have their answers.</summary>
    public Task DrainedAsync() => drained.WaitAsync();

    /// <summary>Takes no more calls.</summary>
    public void Close()
    {
        lock (gate)
        {
            closed = true;
            TellIfDrained();
        }
    }

    private void TellIfDrained()
    {
        if (closed && calls == 0)
        {
            drained.Set();
        }
    }
}
