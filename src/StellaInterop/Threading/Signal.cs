using System.Runtime.CompilerServices;

namespace StellaInterop.Threading;

/// <summary>Something that happens once and is waited for. Code that waits goes on by <see cref="Continuations"/>. Thread-safe.</summary>
internal sealed class Signal
{
    private readonly Signal<bool> signal = new();

    public bool IsSet => signal.IsSet;

    /// <inheritdoc cref="Signal{T}.Error"/>
    public Exception? Error => signal.Error;

    /// <summary>Returns a task that ends when this is set.</summary>
    public Task WaitAsync() => signal.WaitAsync();

    /// <summary>Ends the tasks of all who wait, unless it was set before.</summary>
    public void Set() => signal.Set(true);

    /// <summary>Ends the tasks of all who wait by an error, unless it was set before. The error counts as seen.</summary>
    public void Fail(Exception error) => signal.Fail(error);
}

/// <summary>A <see cref="Signal"/> with a result.</summary>
/// <remarks>
/// Setting it never fails, and never runs the waiting code. Everybody who waits gets a task of their own, so that the code of one does
/// not hold up that of another.
/// </remarks>
internal sealed class Signal<T>
{
    private readonly Lock gate = new();
    private readonly List<TaskCompletionSource<T>> waiters = [];
    private volatile Task<T>? outcome;

    public bool IsSet => outcome is not null;

    /// <summary>
    /// The error that this was failed with, from that moment on. A task of <see cref="WaitAsync"/> may have it later, even after the tasks of
    /// signals that were set afterwards.
    /// </summary>
    public Exception? Error => outcome?.Exception?.InnerException;

    /// <summary>Returns a task that ends when this is set. It is kept until then.</summary>
    public Task<T> WaitAsync()
    {
        lock (gate)
        {
            if (outcome is { } ended)
            {
                return ended;
            }

            var waiter = new TaskCompletionSource<T>();
            waiters.Add(waiter);
            return waiter.Task;
        }
    }

    /// <summary>Ends the tasks of all who wait, unless it was set before.</summary>
    public void Set(T result) => TrySet(result);

    /// <summary>Ends the tasks of all who wait, unless it was set before.</summary>
    /// <returns>Whether it was not set before.</returns>
    public bool TrySet(T result) => End(Task.FromResult(result));

    /// <summary>Ends the tasks of all who wait by an error, unless it was set before. The error counts as seen.</summary>
    public void Fail(Exception error) => End(Task.FromException<T>(error));

    private bool End(Task<T> ended)
    {
        TaskCompletionSource<T>[] all;
        lock (gate)
        {
            if (outcome is not null)
            {
                return false;
            }

            outcome = ended;
            all = [.. waiters];
            waiters.Clear();
        }

        // The runtime tells the host of errors that nobody looked at, and all who waited may have had another answer.
        _ = ended.Exception;
        foreach (TaskCompletionSource<T> waiter in all)
        {
            Continuations.Shared.Run(() =>
            {
                waiter.SetFromTask(ended);
                _ = waiter.Task.Exception;
            });
        }

        return true;
    }
}

/// <summary>
/// Runs code of the runtime whose last step is to queue work to the thread pool, which throws if it wants one more thread and the
/// system refuses it. The work is queued by then, so another thread of the thread pool runs it.
/// </summary>
internal static class QueueingCode
{
    /// <summary>Runs it. That the system refuses the thread pool one more thread is no error: the work is queued.</summary>
    public static void Run(Action queue)
    {
        try
        {
            queue();
        }
        catch (OutOfMemoryException)
        {
        }
    }
}

/// <summary>Code after <c>await</c> of this runs by <see cref="Continuations"/>, on another thread.</summary>
internal readonly struct ThreadPoolSwitch : ICriticalNotifyCompletion
{
    /// <summary>Always <see langword="false"/>, so that the code after it never runs on the calling thread.</summary>
    public bool IsCompleted => false;

    public ThreadPoolSwitch GetAwaiter() => this;

    public void GetResult()
    {
    }

    public void OnCompleted(Action continuation) => UnsafeOnCompleted(continuation);

    public void UnsafeOnCompleted(Action continuation) =>
        Continuations.Shared.Run(continuation);
}
