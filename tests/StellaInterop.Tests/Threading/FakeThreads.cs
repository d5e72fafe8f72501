using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests.Threading;

/// <summary>The system's threads, as many as it gives.</summary>
internal sealed class FakeThreads
{
    private int asked;

    public OutOfMemoryException Error { get; } = new("Thread failed to start.");

    /// <summary>Whether the thread of this number, from 1, is refused.</summary>
    public Func<int, bool> Refuses { get; set; } = _ => false;

    public int Asked => Volatile.Read(ref asked);

    /// <summary>Threads that were started and have not ended.</summary>
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

    public StellaPoolOptions Options => PoolOf.Options with { MaxBatchTokens = 1000, StartThread = Start };

    private void Start(Thread thread)
    {
        if (Refuses(Interlocked.Increment(ref asked)))
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
