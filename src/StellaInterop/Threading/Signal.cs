using System.Runtime.CompilerServices;

namespace StellaInterop.Threading;

/// <summary>An event that happens once. Waiting code continues through <see cref="Continuations"/>. Thread-safe.</summary>
internal sealed class Signal
{
    private readonly Signal<bool> signal = new();

    public bool IsSet => signal.IsSet;

    /// <inheritdoc cref="Signal{T}.Error"/>
    public Exception? Error => signal.Error;

    /// <summary>Returns a task that ends when the signal is set.</summary>
    public Task WaitAsync() => signal.WaitAsync();

    /// <summary>Ends all waiting tasks. Has no effect if the signal was set before.</summary>
    public void Set() => signal.Set(true);

    /// <summary>Fails all waiting tasks. Has no effect if the signal was set before. The error counts as observed.</summary>
    public void Fail(Exception error) => signal.Fail(error);
}

/// <summary>A <see cref="Signal"/> with a result.</summary>
/// <remarks>
/// Setting the signal never fails, and never runs waiting code. Each waiting caller has its own task, so that the continuation of one
/// does not delay another.
/// </remarks>
internal sealed class Signal<T>
{
    private readonly Lock gate = new();
    private readonly List<TaskCompletionSource<T>> waiters = [];
    private volatile Task<T>? outcome;

    public bool IsSet => outcome is not null;

    /// <summary>
    /// Gets the error of a failed signal, immediately after <see cref="Fail"/>. A task of <see cref="WaitAsync"/> may fail later, even
    /// after the tasks of signals that were set afterwards.
    /// </summary>
    public Exception? Error => outcome?.Exception?.InnerException;

    /// <summary>Returns a task that ends when the signal is set. The signal keeps the task until then.</summary>
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

    /// <summary>Ends all waiting tasks. Has no effect if the signal was set before.</summary>
    public void Set(T result) => TrySet(result);

    /// <summary>Ends all waiting tasks. Has no effect if the signal was set before.</summary>
    /// <returns>Whether this call set the signal.</returns>
    public bool TrySet(T result) => End(Task.FromResult(result));

    /// <summary>Fails all waiting tasks. Has no effect if the signal was set before. The error counts as observed.</summary>
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

        // Marks the error as observed. Otherwise the runtime reports it to the host if no caller awaits its task.
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
/// Runs code whose last step queues work to the thread pool. Queueing throws if the thread pool needs one more thread and the system
/// refuses it. The work is queued by then, so another thread of the thread pool runs it.
/// </summary>
internal static class QueueingCode
{
    /// <summary>Runs the code, and ignores the exception of a refused thread.</summary>
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

/// <summary>Continues an <c>await</c> through <see cref="Continuations"/>, on another thread.</summary>
internal readonly struct ThreadPoolSwitch : ICriticalNotifyCompletion
{
    /// <summary>Gets <see langword="false"/> always, so that the continuation never runs on the calling thread.</summary>
    public bool IsCompleted => false;

    public ThreadPoolSwitch GetAwaiter() => this;

    public void GetResult()
    {
    }

    public void OnCompleted(Action continuation) => UnsafeOnCompleted(continuation);

    public void UnsafeOnCompleted(Action continuation) =>
        Continuations.Shared.Run(continuation);
}
