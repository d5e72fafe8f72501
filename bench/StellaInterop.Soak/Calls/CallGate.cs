namespace StellaInterop.Soak.Calls;

/// <summary>Admits calls, and holds them back while the memory is sampled. Thread-safe.</summary>
internal sealed class CallGate
{
    private readonly Lock gate = new();
    private int inside;
    private TaskCompletionSource? opened;
    private TaskCompletionSource? emptied;

    /// <summary>Waits until the gate is open, then enters it.</summary>
    public async Task EnterAsync()
    {
        while (true)
        {
            Task wait;
            lock (gate)
            {
                if (opened is null)
                {
                    inside++;
                    return;
                }

                wait = opened.Task;
            }

            await wait.ConfigureAwait(false);
        }
    }

    public void Leave()
    {
        lock (gate)
        {
            if (--inside == 0)
            {
                emptied?.TrySetResult();
            }
        }
    }

    /// <summary>Closes the gate and waits until the last caller has left.</summary>
    /// <returns>Whether the gate was empty in time.</returns>
    public async Task<bool> CloseAsync(TimeSpan timeout)
    {
        TaskCompletionSource empty = NewSource();
        lock (gate)
        {
            opened ??= NewSource();
            emptied = empty;
            if (inside == 0)
            {
                empty.SetResult();
            }
        }

        _ = await Task.WhenAny(empty.Task, Task.Delay(timeout)).ConfigureAwait(false);
        return empty.Task.IsCompleted;
    }

    public void Open()
    {
        TaskCompletionSource? last;
        lock (gate)
        {
            last = opened;
            opened = null;
            emptied = null;
        }

        _ = last?.TrySetResult();
    }

    private static TaskCompletionSource NewSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
