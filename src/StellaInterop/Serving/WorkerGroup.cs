using System.Runtime.ExceptionServices;
using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>
/// The workers of a model while it is loaded: starts them, adds some when work waits, lets idle ones go, replaces broken ones.
/// The last of them that leaves frees the model. Thread-safe.
/// </summary>
/// <remarks>No foreign code runs under the lock: the clock is read before, and telemetry runs after.</remarks>
internal sealed class WorkerGroup(
    LoadedParts parts,
    StellaPoolOptions options,
    PoolClock clock,
    Scheduler scheduler,
    CircuitBreaker breaker,
    ResultCache? cache,
    Func<string, long, MemoryReservation> reserve,
    PoolTelemetry telemetry,
    Action<WorkerGroup> lost)
{
    /// <summary>After a worker could not be started, none is tried for this long.</summary>
    private static readonly TimeSpan RefusalPause = TimeSpan.FromSeconds(5);

    private readonly Lock gate = new();
    private readonly List<PoolWorker> workers = [];

    /// <summary>Workers whose threads may still run, including workers that have left and are still logging.</summary>
    private readonly List<PoolWorker> threads = [];
    private int made;
    private bool starting = true;
    private bool stopping;
    private bool freed;
    private long? refusedAt;
    private MemoryReservation? firstReservation = parts.Worker;
    private ModelCheck? check;
    private volatile Exception? lostTo;

    /// <summary>Workers that were not told to end. Those that were stay in the list until they have, to be waited for.</summary>
    private int Staying => workers.Count(worker => !worker.IsStopping);

    public Scheduler Scheduler => scheduler;

    public ResultCache? Cache => cache;

    public PoolClock Clock => clock;

    /// <summary>Tokens of a text that any model can embed: a letter.</summary>
    public uint[] HarmlessText { get; } = TokenizeLetter(parts.Model);

    /// <summary>Why no worker is left; <see langword="null"/> while there is one.</summary>
    public Exception? LostTo => lostTo;

    /// <summary>Bytes that the workers have reserved.</summary>
    public long ReservedBytes
    {
        get
        {
            lock (gate)
            {
                return workers.Count * parts.Estimate.SessionBytes;
            }
        }
    }

    /// <summary>Workers, those that are at a batch, and the longest time that one has been at it.</summary>
    public (int Workers, int Busy, TimeSpan Longest, bool Refused) State
    {
        get
        {
            long now = clock.Now;
            lock (gate)
            {
                // Once: a worker that is busy now may be idle at the next look.
                TimeSpan[] batches = [.. workers.Where(worker => worker.IsBusy).Select(worker => clock.Between(worker.Since, now))];
                return (Staying, batches.Length, batches.DefaultIfEmpty().Max(), RecentlyRefused(now));
            }
        }
    }

    /// <summary>Starts the workers that stay, and waits until each has begun or failed. One is enough to serve.</summary>
    /// <exception cref="StellaException">No worker could be started; the error of the first says why.</exception>
    public void StartFirst()
    {
        Exception? error = null;
        var first = new List<PoolWorker>();
        for (int i = 0; i < Math.Max(1, options.MinWorkers) && error is null; i++)
        {
            long now = clock.Now;
            Refusal? refused;
            lock (gate)
            {
                if (Start(now, out refused) is { } worker)
                {
                    first.Add(worker);
                }
            }

            error = refused?.Error;
            Tell(refused);
        }

        foreach (PoolWorker worker in first)
        {
            // Foreign code on a worker that begins may wait for this load, which is not to wait for the worker then.
            _ = Task.WhenAny(worker.WaitStartedAsync(), worker.WaitGoneAsync()).GetAwaiter().GetResult();
            error ??= worker.StartError;
        }

        lock (gate)
        {
            starting = false;
            if (Staying > 0)
            {
                return;
            }
        }

        ExceptionDispatchInfo.Throw(error ?? new StellaException(StellaErrorCode.Internal, "Every worker ended while the first were started."));
    }

    /// <summary>Adds a worker when more waits than those there are take at once, or fewer are there than should stay.</summary>
    public void Grow()
    {
        SchedulerState state = scheduler.State;
        long now = clock.Now;
        Refusal? refused;
        lock (gate)
        {
            bool isWanted = state.IdleTakers == 0
                && Staying < options.EffectiveMaxWorkers
                && state.QueuedTokens > (long)Staying * parts.BatchTokens;
            if (!(isWanted || Staying < options.MinWorkers) || RecentlyRefused(now))
            {
                return;
            }

            _ = Start(now, out refused);
        }

        Tell(refused);
    }

    /// <summary>Ends workers beyond those that stay which have had nothing to do for long.</summary>
    public void Shrink()
    {
        long now = clock.Now;
        lock (gate)
        {
            foreach (PoolWorker worker in workers.Where(worker => !worker.IsBusy && clock.Between(worker.Since, now) >= options.IdleTimeout))
            {
                if (Staying <= Math.Max(1, options.MinWorkers))
                {
                    return;
                }

                if (scheduler.TryRetire(worker))
                {
                    worker.Stop();
                }
            }
        }
    }

    /// <summary>Ends all workers after their batches, and waits for them. The model is freed with the last of them.</summary>
    /// <returns>How many did not end in time. The calling worker itself, and one that waits for the pool, are not waited for.</returns>
    public async Task<int> StopAsync(TimeSpan timeout)
    {
        PoolWorker[] all;
        lock (gate)
        {
            stopping = true;
            all = [.. workers];
        }

        FreeIfEmpty();
        Array.ForEach(all, worker => worker.Stop());
        Task gone = Task.WhenAll(all.Where(worker => !worker.IsCurrent).Select(worker => worker.WaitGoneAsync()));
        // By the system's clock: the host's may stand still.
        await new PoolClock(TimeProvider.System).WaitAsync(gone, timeout).ConfigureAwait(false);
        return all.Count(worker => !worker.IsCurrent && !worker.IsGone);
    }

    /// <summary>Tells everybody not to wait for a worker if it is the calling one.</summary>
    /// <returns>Its thread, if it is one.</returns>
    public PoolThread? ExcuseCurrentThread()
    {
        PoolWorker? current;
        lock (gate)
        {
            current = threads.Find(worker => worker.IsCurrent);
        }

        return current?.Excuse();
    }

    public MemoryReservation ReserveSession(PoolWorker worker) =>
        Interlocked.Exchange(ref firstReservation, null)
        ?? reserve($"worker {worker.Number} of {telemetry.ModelName}", parts.Estimate.SessionBytes);

    public IPoolSession StartSession() => parts.Model.StartSession(options.EffectiveThreads, parts.BatchTokens);

    public void HasStarted(PoolWorker worker) => telemetry.WorkerStarted(worker.Number);

    public void ThreadFailed(Exception error) => telemetry.ThreadFailed(error);

    /// <summary>A worker did not get what it needs. If it was the only one, nobody would ever answer those who wait.</summary>
    public void FailedToStart(PoolWorker worker, Exception error)
    {
        long now = clock.Now;
        bool isLast;
        lock (gate)
        {
            _ = workers.Remove(worker);
            refusedAt = now;
            isLast = IsLost(error);
        }

        EndIfLost(isLast);
    }

    public void TellRefused(int number, Exception error) => Tell(new Refusal(number, error));

    /// <summary>A worker has ended; a broken one that was to stay gets a successor.</summary>
    public void HasEnded(PoolWorker worker, Exception? broken)
    {
        long now = clock.Now;
        Refusal? refused = null;
        bool isLast;
        lock (gate)
        {
            _ = workers.Remove(worker);
            // Under the same lock: who finds the place empty meanwhile would fill it too.
            if (broken is not null && !worker.IsStopping)
            {
                _ = Start(now, out refused);
            }

            isLast = IsLost(refused?.Error ?? broken);
        }

        EndIfLost(isLast);
        telemetry.WorkerEnded(worker.Number, broken);
        Tell(refused);
    }

    /// <summary>A forward went well.</summary>
    /// <returns>Whether calls that were refused are taken again.</returns>
    public bool Succeeded(Batch batch, TimeSpan elapsed)
    {
        scheduler.NoteSpeed(batch.Tokens, elapsed);
        return HeadWorks(batch.Kind.Dimension);
    }

    /// <summary>Tells of a forward that went well, after everybody has their vectors.</summary>
    public void TellForward(int texts, int tokens, TimeSpan elapsed, bool closedBreaker)
    {
        telemetry.Forward(texts, tokens, elapsed);
        telemetry.BreakerClosed(closedBreaker);
    }

    /// <summary>Tells of a forward that failed, after its texts are on their way again or have their errors.</summary>
    public void TellFailed(int texts, Exception error, bool isFirstOfFault, string? opened)
    {
        telemetry.ForwardFailed(texts, error, isFirstOfFault);
        TellOpened(opened);
    }

    public void TellOpened(string? opened) => telemetry.BreakerOpened(opened);

    public bool HeadWorks(int dimension) => breaker.Succeeded(dimension);

    public string? HeadFailed(int dimension, Exception error) => breaker.Failed(dimension, error);

    /// <summary>Says that a worker has done with a batch, and which of its texts are to be tried again.</summary>
    public void Return(Batch batch, params ReadOnlySpan<List<TextItem>> again)
    {
        // Workers that broke count when the search tried every text and none was to blame: then whatever they computed broke them.
        if (scheduler.Return(batch, again) is { HasFaultyText: false, IsCut: false, WorkersLost: > 0 } fault)
        {
            telemetry.BreakerOpened(breaker.Replaced(fault.WorkersLost, fault.Error));
        }
    }

    /// <summary>Leaves a check of the model to the next worker that starts.</summary>
    public void CheckLater(ModelCheck next)
    {
        lock (gate)
        {
            check ??= next;
        }
    }

    /// <summary>The check that was left to this worker, if there is one.</summary>
    public ModelCheck? TakeCheck() => Interlocked.Exchange(ref check, null);

    private static uint[] TokenizeLetter(IPoolModel model)
    {
        var tokens = new TokenizedText[1];
        model.Tokenize(["a"], firstText: 0, new StellaEmbedOptions { Prompt = StellaPrompt.Document }, tokens);
        return tokens[0].Ids;
    }

    /// <summary>Starts a worker, unless the crew is stopping. To be called under the lock.</summary>
    /// <returns>The worker, which counts because its thread runs.</returns>
    private PoolWorker? Start(long now, out Refusal? refused)
    {
        refused = null;
        if (stopping)
        {
            return null;
        }

        // Started under the lock: who stops the workers waits for each that it finds.
        var worker = new PoolWorker(this, ++made);
        try
        {
            worker.Start(options.StartThread, now);
        }
        catch (StellaThreadException e)
        {
            refused = new Refusal(worker.Number, e);
            refusedAt = now;
            return null;
        }

        _ = threads.RemoveAll(other => other.HasEnded);
        threads.Add(worker);
        workers.Add(worker);
        return worker;
    }

    /// <summary>Notes that no worker is left although none was told to end. To be called under the lock.</summary>
    private bool IsLost(Exception? error)
    {
        if (Staying > 0 || starting || stopping || error is null)
        {
            return false;
        }

        lostTo = error;
        // No call may start another worker of a model that is about to be given up.
        stopping = true;
        return true;
    }

    private void EndIfLost(bool isLost)
    {
        if (isLost)
        {
            lost(this);
        }

        FreeIfEmpty();
    }

    /// <summary>Frees the model if the crew is stopping and the last worker has left.</summary>
    private void FreeIfEmpty()
    {
        lock (gate)
        {
            if (freed || !stopping || workers.Count > 0)
            {
                return;
            }

            freed = true;
        }

        try
        {
            parts.Model.Dispose();
        }
        finally
        {
            // Memory of a model that cannot be freed is not coming back, and the budget measures what is there.
            Interlocked.Exchange(ref firstReservation, null)?.Dispose();
            parts.Reservation.Dispose();
        }
    }

    private void Tell(Refusal? refused)
    {
        if (refused is not null)
        {
            telemetry.WorkerRefused(refused.Number, refused.Error);
        }
    }

    private bool RecentlyRefused(long now) => refusedAt is { } at && clock.Between(at, now) < RefusalPause;

    /// <summary>A worker that could not be started.</summary>
    private sealed record Refusal(int Number, Exception Error);
}
