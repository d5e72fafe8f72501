using System.Collections.Concurrent;
using System.Diagnostics;

namespace StellaInterop.Threading;

/// <summary>
/// Runs code that waited for something: on the thread pool, or on a thread of its own when the thread pool has none free for a
/// while. Thread-safe.
/// </summary>
/// <remarks>
/// Callers may wait for a pool by blocking a thread. When they block every thread of the thread pool, the code that would
/// answer them has none left, and all wait for ever. So each piece of code that is late is taken away from the thread pool. A watching
/// thread never runs such code itself, as that may block too. It starts another thread when those that it started get nowhere.
/// </remarks>
internal sealed class Continuations(TimeSpan patience, Action<Thread> startThread)
{
    /// <summary>How often the watching thread looks at late code.</summary>
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(10);

    /// <summary>How long the watching thread stays without work.</summary>
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(2);

    private readonly ConcurrentQueue<Item> pending = new();
    private readonly ConcurrentQueue<Item> late = new();

    /// <summary>Pulsed when code comes while the watching thread rests.</summary>
    private readonly object gate = new();
    private volatile bool isWatched;
    private volatile bool isResting;
    private int runners;
    private int progress;

    /// <summary>
    /// The one of the process, as the thread pool is. A tenth of a second is long for a thread pool with a free thread, and short for
    /// whoever waits for one without.
    /// </summary>
    public static Continuations Shared { get; } = new(TimeSpan.FromMilliseconds(100), static thread => thread.UnsafeStart());

    /// <summary>Runs code soon, on another thread. Never throws: the code is kept if the system refuses a thread.</summary>
    public void Run(Action code)
    {
        var item = new Item(code);
        pending.Enqueue(item);
        QueueingCode.Run(() => ThreadPool.UnsafeQueueUserWorkItem(item, preferLocal: false));
        if (isResting || !isWatched)
        {
            Watch();
        }
    }

    private void Watch()
    {
        lock (gate)
        {
            Monitor.Pulse(gate);
            isWatched = isWatched || TryStart("stella continuations", WatchAll);
        }
    }

    private void WatchAll()
    {
        int seen = progress;
        while (true)
        {
            MoveLate();
            if (!late.IsEmpty && (Volatile.Read(ref runners) == 0 || seen == Volatile.Read(ref progress)))
            {
                _ = Interlocked.Increment(ref runners);
                if (!TryStart("stella late continuations", RunLate))
                {
                    _ = Interlocked.Decrement(ref runners);
                }
            }

            seen = Volatile.Read(ref progress);
            if (late.IsEmpty && pending.IsEmpty && !WaitForWork())
            {
                return;
            }

            Thread.Sleep(late.IsEmpty ? patience / 2 : Tick);
        }
    }

    /// <summary>Moves code that the thread pool does not begin, and forgets what it began.</summary>
    private void MoveLate()
    {
        while (pending.TryPeek(out Item? item) && (item.IsTaken || item.Age >= patience))
        {
            _ = pending.TryDequeue(out _);
            if (!item.IsTaken)
            {
                late.Enqueue(item);
            }
        }
    }

    /// <summary>Waits for code. <see langword="false"/> when there was none for long: the thread is free to end.</summary>
    private bool WaitForWork()
    {
        lock (gate)
        {
            isResting = true;
            Interlocked.MemoryBarrier();
            if (pending.IsEmpty)
            {
                _ = Monitor.Wait(gate, Rest);
            }

            isResting = false;
            // Code that comes from here on sees that nobody watches, or it is seen here.
            isWatched = false;
            Interlocked.MemoryBarrier();
            isWatched = !pending.IsEmpty;
            return isWatched;
        }
    }

    private void RunLate()
    {
        try
        {
            while (late.TryDequeue(out Item? item))
            {
                item.Execute();
                _ = Interlocked.Increment(ref progress);
            }
        }
        finally
        {
            _ = Interlocked.Decrement(ref runners);
        }
    }

    private bool TryStart(string name, Action body)
    {
        try
        {
            new PoolThread(name, body, static _ => { }).Start(startThread);
            return true;
        }
        catch (StellaThreadException)
        {
            // The thread pool still has the code, and the next piece of code tries again.
            return false;
        }
    }

    /// <summary>Code that runs once, wherever it is begun first.</summary>
    private sealed class Item(Action code) : IThreadPoolWorkItem
    {
        private readonly long queuedAt = Stopwatch.GetTimestamp();
        private Action? code = code;

        public bool IsTaken => Volatile.Read(ref code) is null;

        public TimeSpan Age => Stopwatch.GetElapsedTime(queuedAt);

        public void Execute() => Interlocked.Exchange(ref code, null)?.Invoke();
    }
}
