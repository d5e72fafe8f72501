namespace StellaInterop.Pooling;

/// <summary>
/// Reads the fingerprint of a pool's model on a thread of its own: the first fingerprint of a model may read gigabytes, which is
/// too long for a worker and for the thread pool. Callers that ask at once share one thread. Thread-safe.
/// </summary>
internal sealed class FingerprintReader(ModelHost host, Action<Thread> startThread, PoolTelemetry telemetry)
{
    private readonly Lock gate = new();
    private readonly List<Signal<string>> waiting = [];

    /// <summary>The thread that reads; <see langword="null"/> if no caller waits.</summary>
    private PoolThread? thread;

    /// <summary>The hold on the model, until the end of the read or of the pool.</summary>
    private ModelUse? use;
    private Exception? closedBy;

    /// <summary>Gets the thread that reads, if there is one.</summary>
    public PoolThread? Thread
    {
        get
        {
            lock (gate)
            {
                return thread;
            }
        }
    }

    /// <summary>Returns the fingerprint of the model, which is loaded if it is not.</summary>
    /// <exception cref="StellaThreadException">The system refused the thread.</exception>
    public async Task<string> ReadAsync(CancellationToken cancellationToken)
    {
        var answer = new Signal<string>();
        Ask(answer);
        using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(
            static (state, token) => ((Signal<string>)state!).Fail(new OperationCanceledException(token)), answer);
        return await answer.WaitAsync().ConfigureAwait(false);
    }

    /// <summary>Ends all callers by an error, and takes no more of them. The thread ends by itself.</summary>
    public void Close(Exception error)
    {
        Signal<string>[] all;
        lock (gate)
        {
            closedBy ??= error;
            all = TakeWaiting();
        }

        Array.ForEach(all, answer => answer.Fail(error));
        Release();
    }

    private void Ask(Signal<string> answer)
    {
        LoadedModel? loaded = host.State.Loaded;
        lock (gate)
        {
            if (closedBy is { } end)
            {
                answer.Fail(end);
                return;
            }

            if (loaded?.Fingerprint is { } known)
            {
                answer.Set(known);
                return;
            }

            if (thread is null)
            {
                var started = new PoolThread("stella fingerprint", Run, telemetry.ThreadFailed);
                started.Start(startThread);
                thread = started;
            }

            waiting.Add(answer);
        }
    }

    private void Run()
    {
        LoadedModel? loaded = null;
        string? fingerprint = null;
        Exception? error = null;
        try
        {
            loaded = Load();
            fingerprint = loaded?.Model.GetFingerprint();
        }
#pragma warning disable CA1031 // Whatever it is, it is the answer of all callers.
        catch (Exception e)
#pragma warning restore CA1031
        {
            // A model whose last worker is gone is freed, whoever else uses it.
            error = e is ObjectDisposedException && loaded?.Crew.LostTo is { } lost ? lost : e;
        }

        Release();
        Signal<string>[] all;
        lock (gate)
        {
            if (loaded is not null)
            {
                loaded.Fingerprint = fingerprint;
            }

            thread = null;
            all = TakeWaiting();
        }

        foreach (Signal<string> answer in all)
        {
            if (fingerprint is not null)
            {
                answer.Set(fingerprint);
            }
            else
            {
                answer.Fail(error!);
            }
        }
    }

    /// <summary>Holds the model and waits for it.</summary>
    /// <returns><see langword="null"/> if the pool was closed meanwhile: no caller waits any more.</returns>
    private LoadedModel? Load()
    {
        ModelUse mine = host.Acquire();
        bool isClosed;
        lock (gate)
        {
            use = mine;
            isClosed = closedBy is not null;
        }

        if (isClosed)
        {
            Release();
        }

        return mine.LoadedAsync().GetAwaiter().GetResult();
    }

    /// <summary>Gives the hold on the model back, once.</summary>
    private void Release()
    {
        ModelUse? held;
        lock (gate)
        {
            held = use;
            use = null;
        }

        if (held is not null)
        {
            host.Release(held);
        }
    }

    /// <summary>Takes the callers out. To be called under the lock.</summary>
    private Signal<string>[] TakeWaiting()
    {
        Signal<string>[] all = [.. waiting];
        waiting.Clear();
        return all;
    }
}
