using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>Lets a number of callers in at once, the others in the order in which they came. Thread-safe.</summary>
/// <remarks>A semaphore of the runtime wakes those who wait on the thread pool alone, where callers may block every thread.</remarks>
internal sealed class Slots(int count)
{
    private readonly Lock gate = new();
    private readonly Queue<Signal> waiting = new();
    private int free = count;

    /// <summary>Ends when there is a free slot, which is the caller's then.</summary>
    public Task EnterAsync()
    {
        lock (gate)
        {
            if (free > 0)
            {
                free--;
                return Task.CompletedTask;
            }

            var turn = new Signal();
            waiting.Enqueue(turn);
            return turn.WaitAsync();
        }
    }

    /// <summary>Gives a slot back. Never throws.</summary>
    public void Leave()
    {
        Signal? next;
        lock (gate)
        {
            if (!waiting.TryDequeue(out next))
            {
                free++;
            }
        }

        next?.Set();
    }
}
