using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>
/// Reads the fingerprints of a pool's model on a thread of its own: the first fingerprint of a model may read gigabytes, which is
/// too long for a worker and for the thread pool. Callers that ask at once share one thread. Thread-safe.
/// </summary>
internal sealed class FingerprintReader(ModelHost host, Action<Thread> startThread, PoolTelemetry telemetry)
{
    private readonly Lock gate = new();
    private readonly List<Caller> waiting = [];

    /// <summary>The thread that reads; <see langword="null"/> if no caller waits.</summary>
    private PoolThread? thread;

    /// <summary>The use of the model, until the end of the read or of the pool.</summary>
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

    /// <summary>Returns the fingerprint of a dimension, and loads the model if it is not loaded.</summary>
    /// <exception cref="StellaThreadException">The system refused the thread.</exception>
    public async Task<string> ReadAsync(int? dimension, CancellationToken cancellationToken)
    {
        var answer = new Signal<string>();
        Ask(new Caller(dimension ?? 0, answer));
        using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(
            static (state, token) => ((Signal<string>)state!).Fail(new OperationCanceledException(token)), answer);
        return await answer.WaitAsync().ConfigureAwait(false);
    }

    /// <summary>Ends all callers by an error, and takes no more of them. The thread ends by itself.</summary>
    public void Close(Exception error)
    {
        Caller[] all;
        lock (gate)
        {
            closedBy ??= error;
            all = [.. waiting];
            waiting.Clear();
        }

        Array.ForEach(all, caller => caller.Answer.Fail(error));
        Release();
    }

    private void Ask(Caller caller)
    {
        LoadedModel? loaded = host.State.Loaded;
        lock (gate)
        {
            if (closedBy is { } end)
            {
                caller.Answer.Fail(end);
                return;
            }

            if (loaded?.Fingerprints.GetValueOrDefault(caller.Dimension) is { } known)
            {
                caller.Answer.Set(known);
                return;
            }

            if (thread is null)
            {
                var started = new PoolThread("stella fingerprint", Run, telemetry.ThreadFailed);
                started.Start(startThread);
                thread = started;
            }

            waiting.Add(caller);
        }
    }

    private void Run()
    {
        while (ReadAll())
        {
        }
    }

    /// <summary>Loads the model, and answers every caller that waits by then.</summary>
    /// <returns>Whether more callers ask for another dimension; otherwise the thread may end.</returns>
    private bool ReadAll()
    {
        LoadedModel? loaded = null;
        Exception? error = null;
        try
        {
            loaded = Load();
        }
#pragma warning disable CA1031 // Any error is the answer of all callers.
        catch (Exception e)
#pragma warning restore CA1031
        {
            error = e;
        }

        int[] dimensions;
        lock (gate)
        {
            dimensions = [.. waiting.Select(caller => caller.Dimension).Distinct()];
        }

        Dictionary<int, (string? Fingerprint, Exception? Error)> read =
            dimensions.ToDictionary(dimension => dimension, dimension => error is null ? Read(loaded, dimension) : (null, error));
        Release();
        Caller[] answered;
        bool goesOn;
        lock (gate)
        {
            foreach ((int dimension, (string? fingerprint, _)) in read)
            {
                if (fingerprint is not null)
                {
                    loaded!.Fingerprints[dimension] = fingerprint;
                }
            }

            answered = [.. waiting.Where(caller => read.ContainsKey(caller.Dimension))];
            _ = waiting.RemoveAll(caller => read.ContainsKey(caller.Dimension));
            goesOn = waiting.Count > 0;
            if (!goesOn)
            {
                thread = null;
            }
        }

        foreach ((int dimension, Signal<string> answer) in answered)
        {
            if (read[dimension] is { Fingerprint: { } fingerprint })
            {
                answer.Set(fingerprint);
            }
            else
            {
                answer.Fail(read[dimension].Error!);
            }
        }

        return goesOn;
    }

    /// <summary>Reads one fingerprint. If the model is null, the pool was closed and no caller waits any more.</summary>
    private static (string? Fingerprint, Exception? Error) Read(LoadedModel? loaded, int dimension)
    {
        try
        {
            return (loaded is null ? null : loaded.Model.GetFingerprint(dimension == 0 ? null : dimension), null);
        }
#pragma warning disable CA1031 // Any error is the answer of the callers.
        catch (Exception e)
#pragma warning restore CA1031
        {
            // A model whose last worker has ended is freed, even if it is in use.
            return (null, e is ObjectDisposedException && loaded?.Workers.LostTo is { } lost ? lost : e);
        }
    }

    /// <summary>Uses the model and waits for it.</summary>
    /// <returns><see langword="null"/> if the pool was closed meanwhile: no caller waits any more.</returns>
    private LoadedModel? Load()
    {
        ModelUse mine = host.Use();
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

    /// <summary>Ends the use of the model, once.</summary>
    private void Release()
    {
        ModelUse? held;
        lock (gate)
        {
            held = use;
            use = null;
        }

        held?.Dispose();
    }

    /// <summary>A caller that waits, with the dimension it asks for, 0 for the default one.</summary>
    private readonly record struct Caller(int Dimension, Signal<string> Answer);
}
