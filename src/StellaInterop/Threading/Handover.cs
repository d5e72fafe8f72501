using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace StellaInterop.Threading;

/// <summary>Passes items from one writer to one reader, in order and through a bounded buffer.</summary>
/// <remarks>
/// A channel of .NET does the same, but it loses an item if waking its writer needs a thread that the system refuses. Waking by a
/// <see cref="Signal"/> never fails.
/// </remarks>
internal sealed class Handover<T>(int capacity)
{
    private readonly Lock gate = new();
    private readonly Queue<T> items = new(capacity);

    /// <summary>Set and replaced at every change. The reader waits for an item; the writer waits for room or for the reader.</summary>
    private Signal change = new();
    private bool isEnded;
    private Exception? error;

    /// <summary>Waits until there is room for one more item. For the writer.</summary>
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

    /// <summary>Adds an item. There must be room for it. For the writer.</summary>
    public void Add(T item)
    {
        lock (gate)
        {
            items.Enqueue(item);
        }

        Wake();
    }

    /// <summary>Ends the sequence, with an error if there is one. For the writer.</summary>
    public void End(Exception? reason)
    {
        lock (gate)
        {
            (isEnded, error) = (true, reason);
        }

        Wake();
    }

    /// <summary>Enumerates the items in order, and throws the writer's error after the last item. For the reader.</summary>
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
        bool found;
        lock (gate)
        {
            found = items.TryDequeue(out item);
        }

        Wake();
        return found;
    }

    /// <summary>Returns a task that ends at the next change; <see langword="null"/> if the condition is already true.</summary>
    private Task? ChangeUnless(Func<bool> condition)
    {
        lock (gate)
        {
            return condition() ? null : change.WaitAsync();
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
