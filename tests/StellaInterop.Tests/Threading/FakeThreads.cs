using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests.Threading;

/// <summary>Starts the threads of a pool, and refuses some of them like a system at its limit.</summary>
internal sealed class FakeThreads
{
    private int requested;

    public OutOfMemoryException Error { get; } = new("Thread failed to start.");

    /// <summary>Returns whether the thread of a number, from 1, is refused.</summary>
    public Func<int, bool> Refuses { get; set; } = _ => false;

    /// <summary>The number of threads that the pool asked for.</summary>
    public int Requested => Volatile.Read(ref requested);

    /// <summary>The number of threads that were started and have not ended.</summary>
    public int Alive
    {
        get
        {
            lock (started)
            {
                return started.Count(thread => thread.IsAlive);
            }
        }
    }

    private readonly List<Thread> started = [];

    public StellaPoolOptions Options => TestPool.Options with { MaxBatchTokens = 1000, StartThread = Start };

    private void Start(Thread thread)
    {
        if (Refuses(Interlocked.Increment(ref requested)))
        {
            throw Error;
        }

        lock (started)
        {
            thread.UnsafeStart();
            started.Add(thread);
        }
    }
}
