using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace StellaInterop.Threading;

/// <summary>Items on their way from one writer to one reader, in order and a few at a time.</summary>
/// <remarks>
/// A channel of the runtime does the same, but it loses the item that it gives out when waking its writer wants a thread that the
/// system refuses. Waking by a <see cref="Signal"/> never fails.
/// </remarks>
internal sealed class Handover<T>(int capacity)
{
    private readonly Lock gate = new();
    private readonly Queue<T> items = new(capacity);

    /// <summary>Set and replaced when anything changes. The reader waits for an item, the writer for room or for the reader.</summary>
    private Signal change = new();
    private bool isEnded;
    private Exception? error;

    /// <summary>Waits until one more item has room. For the writer.</summary>
    public async Task WaitForRoomAsync(CancellationToken cancellationToken)
    {
        while (ChangeUnless(() => items.Count < capacity) is { } next)
        {
            await WaitAsync(next, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Waits until the reader has taken every item. For the writer.</summary>
    public async Task WaitUntilEmptyAsync(CancellationToken cancellationToken)
    {
        while (ChangeUnless(() => items.Count == 0) is { } next)
        {
            await WaitAsync(next, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Adds an item, for which there is room. For the writer.</summary>
    public void Add(T item)
    {
        lock (gate)
        {
            items.Enqueue(item);
        }

        Wake();
    }

    /// <summary>Says that no further item comes, and why if it is an error. For the writer.</summary>
    public void End(Exception? reason)
    {
        lock (gate)
        {
            (isEnded, error) = (true, reason);
        }

        Wake();
    }

    /// <summary>Gives the items in order. The writer's error comes after them. For the reader.</summary>
    public async IAsyncEnumerable<T> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            while (ChangeUnless(() => items.Count > 0 || isEnded) is { } next)
            {
                await WaitAsync(next, cancellationToken).ConfigureAwait(false);
            }

            if (!TryTake(out T? item))
            {
                break;
            }

            yield return item;
        }

        if (error is not null)
        {
            ExceptionDispatchInfo.Throw(error);
        }
    }

    /// <summary>Takes the next item if there is one. For the reader.</summary>
    public bool TryTake([MaybeNullWhen(false)] out T item)
    {
        bool isThere;
        lock (gate)
        {
            isThere = items.TryDequeue(out item);
        }

        Wake();
        return isThere;
    }

    /// <summary>Returns a task that ends at the next change, or nothing if it is so already.</summary>
    private Task? ChangeUnless(Func<bool> isSo)
    {
        lock (gate)
        {
            return isSo() ? null : change.WaitAsync();
        }
    }

    private async Task WaitAsync(Task next, CancellationToken cancellationToken)
    {
        using (cancellationToken.UnsafeRegister(static handover => ((Handover<T>)handover!).Wake(), this))
        {
            await next.ConfigureAwait(false);
        }

        cancellationToken.ThrowIfCancellationRequested();
    }

    private void Wake()
    {
        Signal before;
        lock (gate)
        {
            (before, change) = (change, new Signal());
        }

        before.Set();
    }
}
