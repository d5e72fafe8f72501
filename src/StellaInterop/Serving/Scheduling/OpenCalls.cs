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

    /// <summary>The number of callers that wait for a fingerprint.</summary>
    private int fingerprintCallers;
    private bool closed;
    private volatile bool disposed;

    public int Count
    {
        get
        {
            using (gate.Enter())
            {
                return calls.Count + fingerprintCallers;
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

    /// <summary>Adds a caller that waits for a fingerprint, until its lease is disposed.</summary>
    /// <inheritdoc cref="Enter" path="/exception"/>
    public IDisposable EnterForFingerprint()
    {
        using (gate.Enter())
        {
            ThrowIfClosed();
            fingerprintCallers++;
        }

        return new Lease(LeaveFingerprint);
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

    private void LeaveFingerprint()
    {
        using (gate.Enter())
        {
            fingerprintCallers--;
            SignalIfDrained();
        }
    }

    private void SignalIfDrained()
    {
        if (closed && calls.Count + fingerprintCallers == 0)
        {
            drained.Set();
        }
    }

    private sealed class Lease(Action leave) : IDisposable
    {
        public void Dispose() => leave();
    }
}
