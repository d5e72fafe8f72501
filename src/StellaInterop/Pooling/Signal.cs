namespace StellaInterop.Pooling;

/// <summary>A task that others complete, once. Code that waits for it continues on the thread pool.</summary>
/// <remarks>
/// Completing it never fails. The thread pool may want one more thread for the waiting code, and throws if the system refuses
/// the thread. By then the task is complete and the waiting code is queued, so another thread of the thread pool runs it.
/// </remarks>
internal sealed class Signal
{
    private readonly Signal<bool> signal = new();

    public Task Task => signal.Task;

    /// <summary>Ends the task, unless it has ended.</summary>
    public void Set() => signal.Set(true);

    /// <summary>Ends the task by an error, unless it has ended. The error counts as seen.</summary>
    public void Fail(Exception error) => signal.Fail(error);
}

/// <summary>A <see cref="Signal"/> with a result.</summary>
internal sealed class Signal<T>
{
    private readonly TaskCompletionSource<T> source = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<T> Task => source.Task;

    /// <summary>Ends the task, unless it has ended.</summary>
    public void Set(T result)
    {
        try
        {
            _ = source.TrySetResult(result);
        }
        catch (OutOfMemoryException)
        {
        }
    }

    /// <summary>Ends the task by an error, unless it has ended. The error counts as seen.</summary>
    public void Fail(Exception error)
    {
        try
        {
            _ = source.TrySetException(error);
        }
        catch (OutOfMemoryException)
        {
        }

        // The runtime tells the host of errors that nobody looked at, and all who waited may have had another answer.
        _ = source.Task.Exception;
    }
}
