using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The calls of a pool that have no answer yet. After the pool was closed, signals when the last call has its answer. Thread-safe.</summary>
/// <param name="modelName">The name of the model, for errors.</param>
internal sealed class OpenCalls(string modelName)
{
    private readonly RankedLock gate = new(LockRank.OpenCalls);
    private readonly Signal drained = new();
    private readonly HashSet<PoolCall> calls = [];

    /// <summary>The number of callers that wait for anything else than vectors, such as a fingerprint.</summary>
    private int others;
    private bool closed;
    private volatile bool disposed;

    public int Count
    {
        get
        {
            using (gate.Enter())
            {
                return calls.Count + others;
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
    /// <param name="call">The call; <see langword="null"/> for a caller that waits for anything else than vectors, such as a fingerprint.</param>
    /// <exception cref="StellaPoolClosedException">The pool is draining.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed.</exception>
    public IDisposable Enter(PoolCall? call)
    {
        using (gate.Enter())
        {
            if (closed)
            {
                throw disposed
                    ? new ObjectDisposedException("StellaEmbeddingPool")
                    : new StellaPoolClosedException($"The pool of {modelName} is draining and takes no more calls.");
            }

            if (call is null)
            {
                others++;
            }
            else
            {
                _ = calls.Add(call);
            }
        }

        return new Lease(this, call);
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

    private void Leave(PoolCall? call)
    {
        using (gate.Enter())
        {
            if (call is null)
            {
                others--;
            }
            else
            {
                _ = calls.Remove(call);
            }

            SignalIfDrained();
        }
    }

    private void SignalIfDrained()
    {
        if (closed && calls.Count + others == 0)
        {
            drained.Set();
        }
    }

    private sealed class Lease(OpenCalls owner, PoolCall? call) : IDisposable
    {
        public void Dispose() => owner.Leave(call);
    }
}
