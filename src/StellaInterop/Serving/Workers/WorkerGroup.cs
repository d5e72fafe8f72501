using System.Runtime.ExceptionServices;
using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The resources of a model's workers, which the last worker frees.</summary>
/// <param name="Model">The model.</param>
/// <param name="BatchTokens">The tokens of a batch. The pool's limit may follow another model while these workers end.</param>
/// <param name="Reservation">The memory of the model.</param>
/// <param name="Worker">The memory of the first worker.</param>
/// <param name="Estimate">The estimated memory of the model and of a worker.</param>
internal sealed record WorkerResources(
    IPoolModel Model, int BatchTokens, MemoryReservation Reservation, MemoryReservation Worker, StellaMemoryEstimate Estimate);

/// <summary>
/// The workers of a loaded model: starts them, adds some when texts wait, ends idle ones, replaces broken ones. The last worker
/// that ends frees the model. Thread-safe.
/// </summary>
/// <remarks>No code of the caller runs under the lock: the clock is read before, and telemetry runs after.</remarks>
internal sealed class WorkerGroup(WorkerResources resources, PoolServices pool, ModelLifetime lifetime)
{
    /// <summary>The pause after a worker could not be started.</summary>
    private static readonly TimeSpan RefusalPause = TimeSpan.FromSeconds(5);

    private readonly RankedLock gate = new(LockRank.Workers);
    private readonly List<PoolWorker> workers = [];

    /// <summary>The calls that these workers compute.</summary>
    private readonly HashSet<PoolCall> calls = [];

    /// <summary>Workers whose threads may still run, including workers that have ended and are still logging.</summary>
    private readonly List<PoolWorker> threads = [];
    private int startedCount;
    private bool starting = true;
    private bool stopping;
    private bool freed;
    private long? refusedAt;
    private MemoryReservation? firstReservation = resources.Worker;
    private ModelCheck? check;
    private volatile Exception? lostTo;

    /// <summary>The workers that were not asked to stop. Stopping workers stay in the list until they end, so that they can be waited for.</summary>
    private int Staying => workers.Count(worker => !worker.IsStopping);

    public Scheduler Scheduler => pool.Scheduler;

    public ResultCache? Cache => pool.Cache;

    public PoolClock Clock => pool.Clock;

    /// <summary>The tokens of a text that any model can embed: one letter.</summary>
    public ReadOnlyMemory<uint> HarmlessText { get; } = TokenizeLetter(resources.Model);

    /// <summary>The error that ended the last worker; <see langword="null"/> while there is a worker.</summary>
    public Exception? LostTo => lostTo;

    /// <summary>Gets the bytes that the workers have reserved.</summary>
    public long ReservedBytes
    {
        get
        {
            using (gate.Enter())
            {
                return workers.Count * resources.Estimate.SessionBytes;
            }
        }
    }

    /// <summary>Gets the number of workers, the number of busy ones, the longest time at one batch, and whether a worker was refused lately.</summary>
    public (int Workers, int Busy, TimeSpan Longest, bool Refused) State
    {
        get
        {
            long now = pool.Clock.Now;
            using (gate.Enter())
            {
                // Read once: a worker that is busy now may be idle at the next look.
                TimeSpan[] batches = [.. workers.Where(worker => worker.IsBusy).Select(worker => pool.Clock.Between(worker.Since, now))];
                return (Staying, batches.Length, batches.DefaultIfEmpty().Max(), RecentlyRefused(now));
            }
        }
    }

    /// <summary>Adds a call that these workers compute. If all of them are lost, the call ends by their error.</summary>
    /// <returns>Dispose it when the call ends.</returns>
    /// <exception cref="StellaException">The workers are lost already.</exception>
    public IDisposable Join(PoolCall call)
    {
        using (gate.Enter())
        {
            if (lostTo is { } error)
            {
                throw error;
            }

            _ = calls.Add(call);
        }

        return new Membership(this, call);
    }

    /// <summary>Starts <see cref="StellaPoolOptions.MinWorkers"/> workers, and waits until each has started or failed. One is enough to serve.</summary>
    /// <exception cref="StellaException">No worker could be started; the error of the first says why.</exception>
    public void StartFirst()
    {
        Exception? error = null;
        var first = new List<PoolWorker>();
        for (int i = 0; i < Math.Max(1, pool.Options.MinWorkers) && error is null; i++)
        {
            long now = pool.Clock.Now;
            Refusal? refused;
            using (gate.Enter())
            {
                if (Start(now, out refused) is { } worker)
                {
                    first.Add(worker);
                }
            }

            error = refused?.Error;
            Report(refused);
        }

        foreach (PoolWorker worker in first)
        {
            // Code of the caller on a worker that starts may wait for this load, which must not wait for the worker then.
            _ = Task.WhenAny(worker.WaitStartedAsync(), worker.WaitGoneAsync()).GetAwaiter().GetResult();
            error ??= worker.StartError;
        }

        using (gate.Enter())
        {
            starting = false;
            if (Staying > 0)
            {
                return;
            }
        }

        ExceptionDispatchInfo.Throw(error ?? new StellaException(StellaErrorCode.Internal, "Every worker ended while the first were started."));
    }

    /// <summary>Starts a worker if more than one batch per worker waits, or if there are fewer workers than should stay.</summary>
    public void Grow()
    {
        SchedulerState state = pool.Scheduler.State;
        long now = pool.Clock.Now;
        Refusal? refused;
        using (gate.Enter())
        {
            bool isWanted = state.IdleTakers == 0
                && Staying < pool.Options.EffectiveMaxWorkers
                && state.QueuedTokens > (long)Staying * resources.BatchTokens;
            if (!(isWanted || Staying < pool.Options.MinWorkers) || RecentlyRefused(now))
            {
                return;
            }

            _ = Start(now, out refused);
        }

        Report(refused);
    }

    /// <summary>Stops workers that have been idle for <see cref="StellaPoolOptions.IdleTimeout"/>, down to the number that should stay.</summary>
    public void Shrink()
    {
        long now = pool.Clock.Now;
        using (gate.Enter())
        {
            foreach (PoolWorker worker in workers.Where(worker => !worker.IsBusy && pool.Clock.Between(worker.Since, now) >= pool.Options.IdleTimeout))
            {
                if (Staying <= Math.Max(1, pool.Options.MinWorkers))
                {
                    return;
                }

                if (pool.Scheduler.TryRetire(worker))
                {
                    worker.Stop();
                }
            }
        }
    }

    /// <summary>Stops all workers after their batches, and waits for them. The last of them frees the model.</summary>
    /// <returns>The number of workers that did not end in time. The calling worker, and a worker that waits for the pool, are not waited for.</returns>
    public async Task<int> StopAsync(TimeSpan timeout)
    {
        PoolWorker[] all;
        using (gate.Enter())
        {
            stopping = true;
            all = [.. workers];
        }

        FreeIfEmpty();
        Array.ForEach(all, worker => worker.Stop());
        Task gone = Task.WhenAll(all.Where(worker => !worker.IsCurrent).Select(worker => worker.WaitGoneAsync()));
        // By the system's clock: the caller's clock may stand still.
        await new PoolClock(TimeProvider.System).WaitAsync(gone, timeout).ConfigureAwait(false);
        return all.Count(worker => !worker.IsCurrent && !worker.IsGone);
    }

    /// <summary>Lets a close not wait for the calling thread, if it is a worker's.</summary>
    /// <returns>The thread, if it is a worker's.</returns>
    public PoolThread? ExcuseCurrentThread()
    {
        PoolWorker? current;
        using (gate.Enter())
        {
            current = threads.Find(worker => worker.IsCurrent);
        }

        return current?.Excuse();
    }

    public MemoryReservation ReserveSession(PoolWorker worker) =>
        Interlocked.Exchange(ref firstReservation, null)
        ?? lifetime.ReserveWorker($"worker {worker.Number} of {pool.Telemetry.ModelName}", resources.Estimate.SessionBytes);

    public IPoolSession StartSession() => resources.Model.StartSession(pool.Options.EffectiveThreads, resources.BatchTokens);

    public void ReportStarted(PoolWorker worker) => pool.Telemetry.WorkerStarted(worker.Number);

    public void ReportThreadFailed(Exception error) => pool.Telemetry.ThreadFailed(error);

    /// <summary>Removes a worker that could not start. If it was the only one, no worker would ever answer the calls.</summary>
    public void RemoveUnstarted(PoolWorker worker, Exception error)
    {
        long now = pool.Clock.Now;
        Departure departure;
        using (gate.Enter())
        {
            _ = workers.Remove(worker);
            refusedAt = now;
            departure = Classify(error);
        }

        FreeAfter(departure);
    }

    public void ReportRefused(int number, Exception error) => Report(new Refusal(number, error));

    /// <summary>Removes a worker that has ended. A broken worker that was not asked to stop gets a successor.</summary>
    public void RemoveEnded(PoolWorker worker, Exception? broken)
    {
        long now = pool.Clock.Now;
        Refusal? refused = null;
        Departure departure;
        using (gate.Enter())
        {
            _ = workers.Remove(worker);
            // Under the same lock: otherwise Grow could fill the gap too.
            if (broken is not null && !worker.IsStopping)
            {
                _ = Start(now, out refused);
            }

            departure = Classify(refused?.Error ?? broken);
        }

        try
        {
            FreeAfter(departure);
        }
        finally
        {
            // Even if the model could not be freed.
            pool.Telemetry.WorkerEnded(worker.Number, broken);
            Report(refused);
        }
    }

    /// <summary>Records a successful forward pass.</summary>
    /// <returns>Whether it closed a circuit, so that calls are accepted again.</returns>
    public bool RecordSuccess(Batch batch, TimeSpan elapsed)
    {
        pool.Admission.RecordSpeed(batch.Tokens, elapsed);
        return RecordHeadSuccess(batch.Kind.Heads);
    }

    /// <summary>Reports a successful forward pass, after the vectors are delivered.</summary>
    public void ReportForward(int texts, int tokens, TimeSpan elapsed, bool closedBreaker)
    {
        pool.Telemetry.Forward(texts, tokens, elapsed);
        pool.Telemetry.BreakerClosed(closedBreaker);
    }

    /// <summary>Reports a failed forward pass, after its texts are queued again or have their errors.</summary>
    public void ReportFailed(int texts, Exception error, bool isFirstOfFault, string? opened)
    {
        pool.Telemetry.ForwardFailed(texts, error, isFirstOfFault);
        ReportOpened(opened);
    }

    public void ReportOpened(string? opened) => pool.Telemetry.BreakerOpened(opened);

    public bool RecordHeadSuccess(Heads heads) => pool.Breaker.Succeeded(heads);

    public string? RecordHeadFailure(Heads heads, Exception error) => pool.Breaker.Failed(heads, error);

    /// <inheritdoc cref="Scheduler.Return"/>
    public void Return(Batch batch, params ReadOnlySpan<List<TextItem>> again)
    {
        // Broken workers count for the breaker if the search tried every text and none is at fault: then any text breaks them.
        if (pool.Scheduler.Return(batch, again) is { HasFaultyText: false, HasUntried: false, WorkersLost: > 0 } fault)
        {
            pool.Telemetry.BreakerOpened(pool.Breaker.Replaced(fault.WorkersLost, fault.Error));
        }
    }

    /// <summary>Leaves a check of the model to the next worker that starts.</summary>
    public void CheckLater(ModelCheck next)
    {
        using (gate.Enter())
        {
            check ??= next;
        }
    }

    /// <summary>Takes the check that was left to the next worker, if there is one.</summary>
    public ModelCheck? TakeCheck() => Interlocked.Exchange(ref check, null);

    private static ReadOnlyMemory<uint> TokenizeLetter(IPoolModel model)
    {
        var tokens = new TokenizedText[1];
        model.Tokenize(["a"], firstText: 0, new StellaEmbedOptions { Prompt = StellaPrompt.Document }, tokens);
        return tokens[0].Ids;
    }

    /// <summary>Starts a worker, unless the group is stopping. To be called under the lock.</summary>
    /// <returns>The worker. It counts from now on, because its thread runs.</returns>
    private PoolWorker? Start(long now, out Refusal? refused)
    {
        refused = null;
        if (stopping)
        {
            return null;
        }

        // Started under the lock, so that a stop waits for it.
        var worker = new PoolWorker(this, ++startedCount);
        try
        {
            worker.Start(pool.Options.StartThread, now);
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

    /// <summary>Decides what follows from the removal of a worker. To be called under the lock that removed it.</summary>
    private Departure Classify(Exception? error)
    {
        if (Staying > 0 || starting || stopping || error is null)
        {
            return stopping && workers.Count == 0 ? Departure.OfLast : Departure.OfOne;
        }

        lostTo = error;
        // No call may start another worker of a model that is given up.
        stopping = true;
        return Departure.LosesModel;
    }

    /// <summary>Gives the model up if its workers are lost, and frees it after its last worker.</summary>
    private void FreeAfter(Departure departure)
    {
        if (departure == Departure.OfLast)
        {
            FreeIfEmpty();
        }
        else if (departure == Departure.LosesModel)
        {
            try
            {
                GiveUp(lostTo!);
            }
            finally
            {
                pool.Telemetry.Unloaded();
            }
        }
    }

    /// <summary>Answers the calls of a lost model, and frees it. A new load and a close wait until its memory is free.</summary>
    private void GiveUp(Exception error)
    {
        using IDisposable abandoned = lifetime.Abandon(this, error);
        PoolCall[] unanswered;
        using (gate.Enter())
        {
            unanswered = [.. calls];
        }

        Array.ForEach(unanswered, call => call.EndBy(error));
        FreeIfEmpty();
    }

    /// <summary>Frees the model if the group is stopping and the last worker has ended.</summary>
    private void FreeIfEmpty()
    {
        using (gate.Enter())
        {
            if (freed || !stopping || workers.Count > 0)
            {
                return;
            }

            freed = true;
        }

        try
        {
            resources.Model.Dispose();
        }
        finally
        {
            // Memory of a model that cannot be freed stays in use, and the budget measures the memory in use.
            Interlocked.Exchange(ref firstReservation, null)?.Dispose();
            resources.Reservation.Dispose();
        }
    }

    private void Report(Refusal? refused)
    {
        if (refused is not null)
        {
            pool.Telemetry.WorkerRefused(refused.Number, refused.Error);
        }
    }

    private bool RecentlyRefused(long now) => refusedAt is { } at && pool.Clock.Between(at, now) < RefusalPause;

    /// <summary>The effect that the removal of a worker has on its group.</summary>
    private enum Departure
    {
        /// <summary>Other workers are left, or none is needed.</summary>
        OfOne,

        /// <summary>The group is stopping, and this was its last worker: the model is freed.</summary>
        OfLast,

        /// <summary>No worker is left although the group was not asked to stop: the model is given up.</summary>
        LosesModel,
    }

    private sealed class Membership(WorkerGroup group, PoolCall call) : IDisposable
    {
        public void Dispose()
        {
            using (group.gate.Enter())
            {
                _ = group.calls.Remove(call);
            }
        }
    }

    /// <summary>A worker that could not be started.</summary>
    private sealed record Refusal(int Number, Exception Error);
}
