using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The calls of a pool that have no answer yet. After the pool was closed, signals when the last call has its answer. Thread-safe.</summary>
/// <param name="modelName">The name of the model, for errors.</param>
/// <param name="poolTypeName">The name of the pool's type, for an <see cref="ObjectDisposedException"/>.</param>
internal sealed class OpenCalls(string modelName, string poolTypeName)
{
    private readonly RankedLock gate = new(LockRank.OpenCalls);
    private readonly Signal drained = new();
    private readonly HashSet<PoolCall> calls = [];

    /// <summary>The number of callers that use the model without its workers.</summary>
    private int modelCallers;
    private bool closed;
    private volatile bool disposed;

    public int Count
    {
        get
        {
            using (gate.Enter())
            {
                return calls.Count + modelCallers;
            }
        }
    }

    public bool IsClosed
    {
        get
        {
            using (gate.Enter())
            {
                return closed;
            }
        }
    }

    /// <summary>Adds a call until its lease is disposed.</summary>
    /// <exception cref="StellaPoolClosedException">The pool is draining.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed.</exception>
    public IDisposable Enter(PoolCall call)
    {
        using (gate.Enter())
        {
            ThrowIfClosed();
            _ = calls.Add(call);
        }

        return new Lease(() => Leave(call));
    }

    /// <summary>Adds a caller that uses the model without its workers, until its lease is disposed.</summary>
    /// <inheritdoc cref="Enter" path="/exception"/>
    public IDisposable EnterForModel()
    {
        using (gate.Enter())
        {
            ThrowIfClosed();
            modelCallers++;
        }

        return new Lease(LeaveModel);
    }

    /// <summary>Records that the pool is disposed, and not only draining.</summary>
    public void MarkDisposed() => disposed = true;

    /// <summary>Refuses calls from now on.</summary>
    public void Close()
    {
        using (gate.Enter())
        {
            closed = true;
            SignalIfDrained();
        }
    }

    /// <summary>Returns the calls that have no answer.</summary>
    public IReadOnlyList<PoolCall> Snapshot()
    {
        using (gate.Enter())
        {
            return [.. calls];
        }
    }

    /// <summary>Waits until the pool is closed and every call has its answer.</summary>
    public Task DrainedAsync() => drained.WaitAsync();

    private void ThrowIfClosed()
    {
        if (closed)
        {
            throw disposed
                ? new ObjectDisposedException(poolTypeName)
                : new StellaPoolClosedException($"The pool of {modelName} is draining and takes no more calls.");
        }
    }

    private void Leave(PoolCall call)
    {
        using (gate.Enter())
        {
            _ = calls.Remove(call);
            SignalIfDrained();
        }
    }

    private void LeaveModel()
    {
        using (gate.Enter())
        {
            modelCallers--;
            SignalIfDrained();
        }
    }

    private void SignalIfDrained()
    {
        if (closed && calls.Count + modelCallers == 0)
        {
            drained.Set();
        }
    }

    private sealed class Lease(Action leave) : IDisposable
    {
        public void Dispose() => leave();
    }
}
