using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>Limits the callers that run at once; the others wait in the order of arrival. Thread-safe.</summary>
/// <remarks>A semaphore of the runtime wakes waiting code on the thread pool, where callers may block every thread.</remarks>
internal sealed class Slots(int count)
{
    private readonly Lock gate = new();
    private readonly LinkedList<Signal<bool>> waiting = [];
    private int free = count;

    /// <summary>Waits for a free slot and takes it.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled; no slot is taken.</exception>
    public async Task EnterAsync(CancellationToken cancellationToken = default)
    {
        LinkedListNode<Signal<bool>> turn;
        lock (gate)
        {
            if (free > 0)
            {
                free--;
                return;
            }

            turn = waiting.AddLast(new Signal<bool>());
        }

        using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(_ => GiveUp(turn, cancellationToken), null);
        _ = await turn.Value.WaitAsync().ConfigureAwait(false);
    }

    /// <summary>Frees a slot. Never throws.</summary>
    public void Leave()
    {
        LinkedListNode<Signal<bool>>? next;
        lock (gate)
        {
            next = waiting.First;
            if (next is null)
            {
                free++;
            }
            else
            {
                waiting.RemoveFirst();
            }
        }

        next?.Value.Set(true);
    }

    /// <summary>Ends a wait, unless its slot has come at the same moment.</summary>
    private void GiveUp(LinkedListNode<Signal<bool>> turn, CancellationToken cancellationToken)
    {
        lock (gate)
        {
            if (turn.List is null)
            {
                return;
            }

            waiting.Remove(turn);
        }

        turn.Value.Fail(new OperationCanceledException(cancellationToken));
    }
}
