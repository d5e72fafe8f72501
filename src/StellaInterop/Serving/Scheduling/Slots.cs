using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>Limits the callers that run at once; the others wait in the order of arrival. Thread-safe.</summary>
/// <remarks>A semaphore of the runtime wakes waiting code on the thread pool, where callers may block every thread.</remarks>
internal sealed class Slots(int count)
{
    private readonly Lock gate = new();
    private readonly Queue<Signal> waiting = new();
    private int free = count;

    /// <summary>Waits for a free slot and takes it.</summary>
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

    /// <summary>Frees a slot. Never throws.</summary>
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
