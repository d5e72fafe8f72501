using System.Collections.Concurrent;
using System.Diagnostics;

namespace StellaInterop.Threading;

/// <summary>
/// Runs continuations on the thread pool, or on a dedicated thread if the thread pool has no free thread for a while. Thread-safe.
/// </summary>
/// <remarks>
/// Callers may block threads while they wait for an embedding pool. If they block every thread of the thread pool, no thread is left for
/// the continuations that would answer them, and all of them deadlock. So late continuations are taken away from the thread pool. The
/// watching thread never runs a continuation itself, because it may block too. It starts another thread if those that it started make no
/// progress.
/// </remarks>
internal sealed class Continuations(TimeSpan patience, Action<Thread> startThread)
{
    /// <summary>The interval at which the watching thread checks late continuations.</summary>
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(10);

    /// <summary>The time after which the watching thread ends if there is no work.</summary>
    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(2);

    private readonly ConcurrentQueue<Item> pending = new();
    private readonly ConcurrentQueue<Item> late = new();

    /// <summary>Pulsed when a continuation is added while the watching thread waits.</summary>
    private readonly object gate = new();
    private volatile bool isWatched;
    private volatile bool isIdle;
    private int runners;
    private int progress;

    /// <summary>
    /// Gets the instance of the process, which has one thread pool. A tenth of a second is long for a thread pool with a free thread, and
    /// short for a caller of a starved one.
    /// </summary>
    public static Continuations Shared { get; } = new(TimeSpan.FromMilliseconds(100), static thread => thread.UnsafeStart());

    /// <summary>Queues code that runs soon on another thread. Never throws: the code stays queued if the system refuses a thread.</summary>
    public void Run(Action code)
    {
        var item = new Item(code);
        pending.Enqueue(item);
        QueueingCode.Run(() => ThreadPool.UnsafeQueueUserWorkItem(item, preferLocal: false));
        if (isIdle || !isWatched)
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

    /// <summary>Moves code that the thread pool has not started in time, and drops code that it has started.</summary>
    private void MoveLate()
    {
        while (pending.TryPeek(out Item? item) && (item.IsStarted || item.Age >= patience))
        {
            _ = pending.TryDequeue(out _);
            if (!item.IsStarted)
            {
                late.Enqueue(item);
            }
        }
    }

    /// <summary>Waits for code. Returns <see langword="false"/> if there was none for a while, so that the thread can end.</summary>
    private bool WaitForWork()
    {
        lock (gate)
        {
            isIdle = true;
            Interlocked.MemoryBarrier();
            if (pending.IsEmpty)
            {
                _ = Monitor.Wait(gate, IdleTime);
            }

            isIdle = false;
            // Code that is added from here on starts a watching thread, or this thread sees it.
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
            // The thread pool still has the code, and the next call of Run tries again.
            return false;
        }
    }

    /// <summary>Code that runs once, on the first thread that starts it.</summary>
    private sealed class Item(Action code) : IThreadPoolWorkItem
    {
        private readonly long queuedAt = Stopwatch.GetTimestamp();
        private Action? code = code;

        public bool IsStarted => Volatile.Read(ref code) is null;

        public TimeSpan Age => Stopwatch.GetElapsedTime(queuedAt);

        public void Execute() => Interlocked.Exchange(ref code, null)?.Invoke();
    }
}
