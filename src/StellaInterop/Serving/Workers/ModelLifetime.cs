using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The state of a pool's model at one moment.</summary>
/// <param name="Phase">The phase of the model's life.</param>
/// <param name="Loaded">The model, if it is loaded.</param>
/// <param name="LastFailure">The error of the last load if it failed, or the error that ended the last worker.</param>
/// <param name="LoadingFor">The duration of the running load.</param>
internal readonly record struct ModelState(
    StellaPoolModelState Phase, LoadedModel? Loaded, Exception? LastFailure, TimeSpan LoadingFor);

/// <summary>A failed load or a lost model.</summary>
/// <param name="RetryAfter">The pause before the next attempt without a call.</param>
/// <param name="Waiting">The uses that waited for the load, to be failed.</param>
internal readonly record struct FailedLoad(TimeSpan RetryAfter, ModelUse[] Waiting);

/// <summary>
/// The life of a pool's model: unloaded, loading, loaded, unloading or closed, and the calls that use it. <see cref="ModelHost"/> loads and
/// unloads the model; <see cref="WorkerGroup"/> gives a model up whose workers are lost. Thread-safe.
/// </summary>
internal sealed class ModelLifetime
{
    /// <summary>The pause after the first of several failed loads; each further failure doubles it.</summary>
    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromMinutes(1);

    private readonly RankedLock gate = new(LockRank.Lifetime);
    private readonly string modelName;
    private readonly PoolClock clock;
    private readonly StellaMemoryGovernor governor;
    private readonly PoolTimer retryTimer;

    /// <summary>The workers of all models that are loaded, being loaded or being unloaded.</summary>
    private readonly HashSet<WorkerGroup> groups = [];
    private ModelLoad? load;

    /// <summary>The last unload. A load waits for it.</summary>
    private Signal unloading = new();
    private int users;
    private long idleSince;
    private int failedLoads;
    private bool closed;
    private Exception? lastFailure;

    /// <param name="modelName">The name of the model, for errors.</param>
    /// <param name="clock">The pool's clock. It is read outside the lock.</param>
    /// <param name="governor">The memory budget.</param>
    /// <param name="retryTimer">The timer of the next load after a failed one. Its owner disposes it.</param>
    public ModelLifetime(string modelName, PoolClock clock, StellaMemoryGovernor governor, PoolTimer retryTimer)
    {
        this.modelName = modelName;
        this.clock = clock;
        this.governor = governor;
        this.retryTimer = retryTimer;
        idleSince = clock.Now;
        unloading.Set();
    }

    public ModelState State
    {
        get
        {
            long now = clock.Now;
            using (gate.Enter())
            {
                return load switch
                {
                    _ when closed => new ModelState(StellaPoolModelState.Closed, null, lastFailure, default),
                    null => new ModelState(StellaPoolModelState.Unloaded, null, lastFailure, default),
                    { Model: { } model } => new ModelState(StellaPoolModelState.Loaded, model, lastFailure, default),
                    _ => new ModelState(StellaPoolModelState.Loading, null, lastFailure, clock.Between(load.Since, now)),
                };
            }
        }
    }

    /// <summary>Gets the time since which no call uses the loaded model; <see langword="null"/> if a call does, or if no model is loaded.</summary>
    public long? IdleSince
    {
        get
        {
            using (gate.Enter())
            {
                return users == 0 && load is { Model: not null } ? idleSince : null;
            }
        }
    }

    /// <summary>Gets the thread of the running or last load, and the workers of all models.</summary>
    public (PoolThread? Loader, WorkerGroup[] Groups) Threads
    {
        get
        {
            using (gate.Enter())
            {
                return (load?.Thread, [.. groups]);
            }
        }
    }

    /// <summary>Uses the model for a call: joins the load that is running or done, or starts one.</summary>
    /// <param name="start">Starts a load, given the unload that it has to wait for. Called under the lock.</param>
    /// <param name="failed">The result of a load whose thread the system refused; the caller reports it.</param>
    /// <returns>The use; dispose it even if the load fails.</returns>
    /// <exception cref="StellaPoolClosedException">The pool is closed.</exception>
    /// <exception cref="StellaThreadException">The system refused the thread of the load.</exception>
    public ModelUse Use(Func<Signal, ModelLoad> start, out FailedLoad? failed)
    {
        failed = null;
        using (gate.Enter())
        {
            if (closed)
            {
                throw new StellaPoolClosedException($"The pool of {modelName} is closed.");
            }

            try
            {
                load ??= start(unloading);
            }
            catch (StellaThreadException e)
            {
                failed = RecordFailure(e);
                throw;
            }

            users++;
            var use = new ModelUse(this, load);
            if (load.Model is { } model)
            {
                use.Set(model);
            }
            else
            {
                _ = load.Waiting.Add(use);
            }

            return use;
        }
    }

    /// <summary>Starts a load although no call needs the model, if the last load failed and nothing has changed since.</summary>
    /// <inheritdoc cref="Use" path="/param"/>
    /// <exception cref="StellaThreadException">The system refused the thread of the load.</exception>
    public void LoadAgain(Func<Signal, ModelLoad> start, out FailedLoad? failed)
    {
        failed = null;
        using (gate.Enter())
        {
            // The timer of a retry may be late: a load that succeeded since left nothing to retry.
            if (closed || load is not null || lastFailure is null)
            {
                return;
            }

            try
            {
                load = start(unloading);
            }
            catch (StellaThreadException e)
            {
                failed = RecordFailure(e);
                throw;
            }
        }
    }

    /// <summary>Ends a use. Runs no code of the caller: the thread that answers a call comes here.</summary>
    public void End(ModelUse use)
    {
        using (gate.Enter())
        {
            _ = use.Load.Waiting.Remove(use);
            Leave();
        }

        use.Set(null);
    }

    /// <summary>
    /// Reserves memory for one more worker. If a call uses this model, idle models of other pools are unloaded for it. This
    /// model is not idle meanwhile, so that no two pools wait for each other.
    /// </summary>
    /// <exception cref="StellaMemoryException">The budget has no room for it.</exception>
    public MemoryReservation ReserveWorker(string owner, long bytes)
    {
        bool isUsed;
        using (gate.Enter())
        {
            // A load is as good as a call: its model is in use from its first worker on.
            isUsed = users > 0 || load is { Model: null };
            users += isUsed ? 1 : 0;
        }

        try
        {
            return governor.Reserve(owner, bytes, mayUnload: isUsed);
        }
        finally
        {
            if (isUsed)
            {
                using (gate.Enter())
                {
                    Leave();
                }
            }
        }
    }

    /// <summary>Records workers that are about to start, until <see cref="Remove"/>.</summary>
    public void Add(WorkerGroup group)
    {
        using (gate.Enter())
        {
            _ = groups.Add(group);
        }
    }

    /// <summary>Removes workers that have ended or are not waited for any more.</summary>
    public void Remove(WorkerGroup group)
    {
        using (gate.Enter())
        {
            _ = groups.Remove(group);
        }
    }

    /// <summary>Ends a load that made a model.</summary>
    /// <param name="current">The load.</param>
    /// <param name="loaded">The model.</param>
    /// <param name="waiting">The uses that wait for the model, to be set.</param>
    /// <returns>
    /// Whether the pool accepts the model. It does not if the workers are lost already, or if the thread of this load closed the pool: the
    /// close waits for every other load.
    /// </returns>
    public bool TryAccept(ModelLoad current, LoadedModel loaded, out ModelUse[] waiting)
    {
        long now = clock.Now;
        using (gate.Enter())
        {
            idleSince = now;
            failedLoads = 0;
            lastFailure = null;
            bool isAccepted = !(closed && current.Thread.IsGone) && loaded.Workers.LostTo is null;
            current.Model = isAccepted ? loaded : null;
            waiting = isAccepted ? TakeWaiting(current) : [];
            return isAccepted;
        }
    }

    /// <summary>Ends a load that failed.</summary>
    public FailedLoad Fail(ModelLoad current, Exception error)
    {
        using (gate.Enter())
        {
            load = null;
            return RecordFailure(error) with { Waiting = TakeWaiting(current) };
        }
    }

    /// <summary>Takes the model away from the pool if no call has used it for <paramref name="idle"/>, so that it can be unloaded.</summary>
    /// <returns>The model, and the signal to set when it is unloaded: the next load waits for it.</returns>
    public (LoadedModel Model, Signal Unloaded)? TakeIfIdle(TimeSpan idle)
    {
        long now = clock.Now;
        using (gate.Enter())
        {
            if (closed || users > 0 || load is not { Model: { } model } || clock.Between(idleSince, now) < idle)
            {
                return null;
            }

            load = null;
            unloading = new Signal();
            return (model, unloading);
        }
    }

    /// <summary>
    /// Gives a model up whose workers are all lost. The next call loads it anew, or the retry does. A new load waits for the end of the lease:
    /// its workers share the queue, and would take texts that were tokenized and cut into batches for the lost model.
    /// </summary>
    /// <param name="group">The lost workers.</param>
    /// <param name="error">The error that ended the last of them.</param>
    /// <returns>Dispose it when the calls of the model have their answers.</returns>
    public IDisposable Abandon(WorkerGroup group, Exception error)
    {
        var lease = new AbandonedModel(this, group);
        using (gate.Enter())
        {
            if (ReferenceEquals(load?.Model?.Workers, group))
            {
                load = null;
                unloading = lease.Unloaded;
                lease.RetryAfter = RecordFailure(error).RetryAfter;
            }
        }

        return lease;
    }

    /// <summary>Refuses uses from now on.</summary>
    /// <returns>The load that is running or done, and the unload that may be running.</returns>
    public (ModelLoad? Last, Signal Unloading) Close()
    {
        using (gate.Enter())
        {
            closed = true;
            return (load, unloading);
        }
    }

    /// <summary>Returns the model of a load that has ended, if it made one.</summary>
    public LoadedModel? ModelOf(ModelLoad ended)
    {
        using (gate.Enter())
        {
            return ended.Model;
        }
    }

    /// <summary>Counts one user less. To be called under the lock.</summary>
    private void Leave()
    {
        if (--users == 0)
        {
            idleSince = clock.LastRead;
        }
    }

    /// <summary>Records a failed load or a lost model. To be called under the lock.</summary>
    private FailedLoad RecordFailure(Exception error)
    {
        lastFailure = error;
        TimeSpan pause = FirstRetry * Math.Pow(2, Math.Min(failedLoads++, 10));
        return new FailedLoad(pause < LongestRetry ? pause : LongestRetry, []);
    }

    private static ModelUse[] TakeWaiting(ModelLoad ended)
    {
        ModelUse[] waiting = [.. ended.Waiting];
        ended.Waiting.Clear();
        return waiting;
    }

    /// <summary>A lost model whose calls are being answered.</summary>
    private sealed class AbandonedModel(ModelLifetime lifetime, WorkerGroup group) : IDisposable
    {
        public Signal Unloaded { get; } = new();

        /// <summary>The pause before the next load; <see langword="null"/> if the lost model was not the pool's model any more.</summary>
        public TimeSpan? RetryAfter { get; set; }

        public void Dispose()
        {
            lifetime.Remove(group);
            Unloaded.Set();
            if (RetryAfter is { } pause)
            {
                lifetime.retryTimer.Fire(pause);
            }
        }
    }
}
