using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>A model that is loaded and has workers. The workers free it when the last of them has left.</summary>
internal sealed record LoadedModel(IPoolModel Model, WorkerGroup Crew, MemoryReservation Reservation)
{
    /// <summary>The fingerprints that were read, by dimension, 0 for the default one. Used under the lock of their reader.</summary>
    public Dictionary<int, string> Fingerprints { get; } = [];
}

/// <summary>A call's hold on the model: until it is released, nobody unloads the model. It is waited for by its call alone.</summary>
internal sealed class ModelUse(ModelLoad load)
{
    private readonly Signal<LoadedModel?> loaded = new();

    public ModelLoad Load { get; } = load;

    /// <summary>Waits for the model.</summary>
    /// <returns><see langword="null"/> if the hold was released before. Ends by the error of a load that failed.</returns>
    public Task<LoadedModel?> LoadedAsync() => loaded.WaitAsync();

    public void Set(LoadedModel? model) => loaded.Set(model);

    public void Fail(Exception error) => loaded.Fail(error);
}

/// <summary>One load of a model and what came of it. Changed under the host's lock.</summary>
/// <param name="since">When it began, by the pool's clock.</param>
internal sealed class ModelLoad(long since)
{
    public long Since { get; } = since;

    /// <summary>Its thread.</summary>
    public required PoolThread Thread { get; init; }

    /// <summary>The calls that wait for it. One that was answered meanwhile is taken out.</summary>
    public HashSet<ModelUse> Waiting { get; } = [];

    /// <summary>The model, from the end of a load that went well.</summary>
    public LoadedModel? Model { get; set; }

    /// <summary>Set when it has ended, however.</summary>
    public Signal Ended { get; } = new();
}

/// <summary>A snapshot of the host and its model.</summary>
/// <param name="Phase">The phase of the model's life.</param>
/// <param name="Loaded">The model, if it is loaded.</param>
/// <param name="LastFailure">The error of the last load if it failed, or the error that ended the last worker.</param>
/// <param name="LoadingFor">How long the load has been going on.</param>
internal readonly record struct HostState(
    StellaPoolModelState Phase, LoadedModel? Loaded, Exception? LastFailure, TimeSpan LoadingFor);

/// <summary>
/// Loads a pool's model when it is first needed, once for all calls that wait, and unloads it when no call uses it. All waiting
/// calls get the error of a load that failed. The next call tries again, and so does the host by itself, ever less often.
/// Thread-safe.
/// </summary>
/// <remarks>No foreign code runs under the lock: the clock is read before, and telemetry runs after.</remarks>
internal sealed class ModelHost : IIdleMemory, IDisposable
{
    /// <summary>The pause after the first failed load of a row; each further one doubles it.</summary>
    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromMinutes(1);

    private readonly IPoolModelSource source;
    private readonly StellaPoolOptions options;
    private readonly TimeSpan joinTimeout;
    private readonly PoolLimits limits;
    private readonly PoolClock clock;
    private readonly StellaMemoryGovernor governor;
    private readonly CircuitBreaker breaker;
    private readonly PoolTelemetry telemetry;
    private readonly Func<LoadedParts, WorkerGroup> makeCrew;
    private readonly IDisposable registration;
    private readonly PoolTimer retry;

    private readonly Lock gate = new();

    /// <summary>The workers of all models that are loaded, being loaded or being unloaded.</summary>
    private readonly HashSet<WorkerGroup> crews = [];

    /// <summary>The threads that nobody waits for, because foreign code on them waits for the pool.</summary>
    private readonly List<PoolThread> excused = [];
    private ModelLoad? load;

    /// <summary>The last unload. A load waits for it.</summary>
    private Signal unloading = new();
    private int users;
    private long idleSince;
    private int failedLoads;
    private bool closed;
    private Exception? lastFailure;
    private volatile StellaModelInfo? info;

    public ModelHost(
        IPoolModelSource source,
        StellaPoolOptions options,
        PoolLimits limits,
        PoolClock clock,
        StellaMemoryGovernor governor,
        CircuitBreaker breaker,
        PoolTelemetry telemetry,
        Func<LoadedParts, WorkerGroup> makeCrew)
    {
        this.source = source;
        this.options = options;
        joinTimeout = options.JoinTimeout;
        this.limits = limits;
        this.clock = clock;
        this.governor = governor;
        this.breaker = breaker;
        this.telemetry = telemetry;
        this.makeCrew = makeCrew;
        if (source.Info is { } known)
        {
            info = known;
            limits.Follow(known);
        }

        idleSince = clock.Now;
        unloading.Set();
        Fingerprint = new FingerprintReader(this, options.StartThread, telemetry);
        retry = clock.CreateTimer(
            static state => ((ModelHost)state!).Retry(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        registration = governor.Register(this);
    }

    /// <inheritdoc/>
    public string Name => source.Name;

    /// <summary>Gets the reader of the model's fingerprint.</summary>
    public FingerprintReader Fingerprint { get; }

    /// <summary>Gets whether the model was disposed by its owner.</summary>
    public bool IsModelDisposed => source.IsDisposed;

    /// <summary>Gets the description of the model; <see langword="null"/> before the first load.</summary>
    public StellaModelInfo? Info => info;

    /// <inheritdoc/>
    public long? IdleSince
    {
        get
        {
            lock (gate)
            {
                return users == 0 && load is { Model: not null } ? idleSince : null;
            }
        }
    }

    /// <inheritdoc/>
    public long IdleBytes
    {
        get
        {
            LoadedModel? loaded = IdleSince is null ? null : State.Loaded;
            return loaded is null ? 0 : loaded.Reservation.Bytes + loaded.Crew.ReservedBytes;
        }
    }

    public HostState State
    {
        get
        {
            long now = clock.Now;
            lock (gate)
            {
                return load switch
                {
                    _ when closed => new HostState(StellaPoolModelState.Closed, null, lastFailure, default),
                    null => new HostState(StellaPoolModelState.Unloaded, null, lastFailure, default),
                    { Model: { } model } => new HostState(StellaPoolModelState.Loaded, model, lastFailure, default),
                    _ => new HostState(StellaPoolModelState.Loading, null, lastFailure, clock.Between(load.Since, now)),
                };
            }
        }
    }

    /// <summary>Holds the model, loaded if it is not. It stays until <see cref="Release"/>, which is due even if the load fails.</summary>
    /// <exception cref="StellaPoolClosedException">The pool is closed; nothing is to be released.</exception>
    /// <exception cref="StellaThreadException">The system refused the thread of the load; nothing is to be released.</exception>
    public ModelUse Acquire() => BeginLoad(forUser: true)!;

    /// <summary>Gives a hold back, on whichever thread answers a call: no foreign code runs here.</summary>
    public void Release(ModelUse use)
    {
        lock (gate)
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
    /// <exception cref="StellaMemoryException">There is no room for it.</exception>
    public MemoryReservation ReserveWorker(string owner, long bytes)
    {
        bool isUsed;
        lock (gate)
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
                lock (gate)
                {
                    Leave();
                }
            }
        }
    }

    /// <summary>Unloads the model if nobody has used it for <paramref name="idle"/>.</summary>
    /// <returns>Whether it was unloaded.</returns>
    public bool UnloadIfIdle(TimeSpan idle)
    {
        LoadedModel loaded;
        long now = clock.Now;
        var done = new Signal();
        lock (gate)
        {
            if (closed
                || users > 0
                || load is not { Model: { } model }
                || clock.Between(idleSince, now) < idle)
            {
                return false;
            }

            loaded = model;
            load = null;
            unloading = done;
        }

        int stuck = 0;
        try
        {
            stuck = StopAsync(loaded.Crew, joinTimeout).GetAwaiter().GetResult();
        }
        finally
        {
            done.Set();
        }

        TellUnloaded(stuck);
        return true;
    }

    /// <inheritdoc/>
    public bool TryRelease() => UnloadIfIdle(TimeSpan.Zero);

    /// <summary>Gives a model up whose workers are all lost. The next call loads it anew, or the host does by itself.</summary>
    /// <param name="crew">The workers.</param>
    /// <param name="error">The error that ended the last of them.</param>
    /// <param name="endCalls">
    /// Ends the calls of the model. A new load waits for it: its workers share the queue, and would take texts that were tokenized
    /// and cut into batches for this model.
    /// </param>
    public void Abandon(WorkerGroup crew, Exception error, Action endCalls)
    {
        TimeSpan? pause = null;
        var done = new Signal();
        lock (gate)
        {
            if (ReferenceEquals(load?.Model?.Crew, crew))
            {
                load = null;
                unloading = done;
                pause = NoteFailure(error);
            }
        }

        try
        {
            endCalls();
            // No worker is left to be waited for.
            _ = StopAsync(crew, TimeSpan.Zero);
        }
        finally
        {
            done.Set();
        }

        if (pause is { } time)
        {
            Schedule(time);
        }
    }

    /// <summary>Tells everybody not to wait for the calling thread, if it is one of a load, a worker or a fingerprint.</summary>
    /// <returns>Whether it is one.</returns>
    public bool ExcuseCurrentThread()
    {
        PoolThread? thread;
        PoolThread? reader = Fingerprint.Thread;
        WorkerGroup[] all;
        lock (gate)
        {
            _ = excused.RemoveAll(ended => ended.HasEnded);
            if (excused.Exists(known => known.IsCurrent))
            {
                return true;
            }

            thread = load?.Thread;
            all = [.. crews];
        }

        thread = reader is { IsCurrent: true } ? reader : thread;
        if (thread is { IsCurrent: true })
        {
            thread.Excuse();
        }
        else
        {
            thread = all.Select(crew => crew.ExcuseCurrentThread()).FirstOrDefault(excused => excused is not null);
        }

        if (thread is null)
        {
            return false;
        }

        lock (gate)
        {
            excused.Add(thread);
        }

        return true;
    }

    /// <summary>
    /// Waits for the excused threads to end, from another thread. The close they waited for inside foreign code is done.
    /// </summary>
    public void WaitForExcused()
    {
        PoolThread[] all;
        lock (gate)
        {
            all = [.. excused];
        }

        _ = Task.WhenAll(all.Select(thread => thread.WaitEndedAsync())).Wait(joinTimeout);
    }

    /// <summary>Takes no more users, and unloads the model when the load that may be running has ended.</summary>
    /// <returns>How many workers did not end in time; <see langword="null"/> if no model was loaded.</returns>
    public async Task<int?> CloseAsync()
    {
        ModelLoad? last;
        Signal before;
        lock (gate)
        {
            closed = true;
            last = load;
            before = unloading;
        }

        registration.Dispose();
        retry.Dispose();
        await before.WaitAsync().ConfigureAwait(false);
        int? stuck = last is null ? null : await StopAsync(last).ConfigureAwait(false);
        if (Fingerprint.Thread is { } reader)
        {
            // It reads files of the model, and holds the model until then.
            // By the system's clock: the host's may stand still.
            await new PoolClock(TimeProvider.System).WaitAsync(reader.WaitGoneAsync(), joinTimeout).ConfigureAwait(false);
        }

        return stuck;
    }

    public void Dispose()
    {
        registration.Dispose();
        retry.Dispose();
    }

    /// <summary>Ends the workers of the model that a load makes or made.</summary>
    /// <returns>How many did not end in time; <see langword="null"/> if the load made no model.</returns>
    private async Task<int?> StopAsync(ModelLoad last)
    {
        // A load that waits for this close is not waited for, and frees by itself what it makes from here on.
        _ = await Task.WhenAny(last.Ended.WaitAsync(), last.Thread.WaitGoneAsync()).ConfigureAwait(false);
        LoadedModel? model;
        lock (gate)
        {
            model = last.Model;
        }

        return model is null ? null : await StopAsync(model.Crew, joinTimeout).ConfigureAwait(false);
    }

    /// <summary>Ends the workers of a model, the last of which frees it.</summary>
    /// <returns>How many did not end in time.</returns>
    private async Task<int> StopAsync(WorkerGroup crew, TimeSpan timeout)
    {
        int stuck = await crew.StopAsync(timeout).ConfigureAwait(false);
        lock (gate)
        {
            _ = crews.Remove(crew);
        }

        return stuck;
    }

    /// <summary>Tells that a model was unloaded.</summary>
    public void TellUnloaded(int stuckWorkers)
    {
        if (stuckWorkers > 0)
        {
            telemetry.WorkersStuck(stuckWorkers, joinTimeout);
        }

        telemetry.Unloaded();
    }

    /// <summary>Joins the load that is going on or done, or starts one.</summary>
    /// <param name="forUser">Whether a call needs the model. Without one, nothing is started if a load is there already or the pool is closed.</param>
    /// <returns>The hold of the call that needs the model.</returns>
    private ModelUse? BeginLoad(bool forUser)
    {
        StellaThreadException refused;
        TimeSpan pause;
        long now = clock.Now;
        lock (gate)
        {
            // The timer of a retry may be late: a load that went well since left nothing to retry.
            if (closed || (!forUser && (load is not null || lastFailure is null)))
            {
                return forUser ? throw new StellaPoolClosedException($"The pool of {Name} is closed.") : null;
            }

            try
            {
                load ??= StartLoad(now);
                return forUser ? Hold(load) : null;
            }
            catch (StellaThreadException e)
            {
                refused = e;
                pause = NoteFailure(e);
            }
        }

        TellFailure(refused, pause, []);
        return forUser ? throw refused : null;
    }

    /// <summary>Starts a load on a thread of its own: it takes seconds, and the thread pool has few threads.</summary>
    /// <exception cref="StellaThreadException">The system refused the thread.</exception>
    private ModelLoad StartLoad(long now)
    {
        Signal before = unloading;
        ModelLoad? started = null;
        var thread = new PoolThread("stella load", () => RunLoad(started!, before), telemetry.ThreadFailed);
        started = new ModelLoad(now) { Thread = thread };
        thread.Start(options.StartThread);
        return started;
    }

    /// <summary>Counts a call as a user of the model that is loaded or being loaded. To be called under the lock.</summary>
    private ModelUse Hold(ModelLoad current)
    {
        users++;
        var use = new ModelUse(current);
        if (current.Model is { } model)
        {
            use.Set(model);
        }
        else
        {
            _ = current.Waiting.Add(use);
        }

        return use;
    }

    /// <summary>Counts a user less. To be called under the lock.</summary>
    private void Leave()
    {
        if (--users == 0)
        {
            idleSince = clock.LastRead;
        }
    }

    private void RunLoad(ModelLoad current, Signal before)
    {
        try
        {
            before.WaitAsync().GetAwaiter().GetResult();
            LoadedModel loaded = Load();
            bool closedBreaker = breaker.Loaded();
            long now = clock.Now;
            ModelUse[] waiting;
            lock (gate)
            {
                idleSince = now;
                failedLoads = 0;
                lastFailure = null;
                info = loaded.Model.Info;
                // The closing thread waits for this load, unless this very thread closed the pool. Workers that were lost meanwhile
                // found no model to abandon.
                current.Model = (closed && current.Thread.IsGone) || loaded.Crew.LostTo is not null ? null : loaded;
                waiting = current.Model is null ? [] : TakeWaiting(current);
            }

            if (current.Model is null)
            {
                _ = StopAsync(loaded.Crew, joinTimeout).GetAwaiter().GetResult();
                throw loaded.Crew.LostTo ?? new StellaPoolClosedException($"The pool of {Name} was closed during the load.");
            }

            Array.ForEach(waiting, use => use.Set(loaded));
            current.Ended.Set();
            telemetry.Loaded(loaded.Model.Info, clock.Since(current.Since));
            telemetry.BreakerClosed(closedBreaker);
        }
#pragma warning disable CA1031 // Whatever it is, it reaches all who wait for the model.
        catch (Exception e) when (!current.Ended.IsSet)
#pragma warning restore CA1031
        {
            TimeSpan pause;
            ModelUse[] waiting;
            lock (gate)
            {
                load = null;
                pause = NoteFailure(e);
                waiting = TakeWaiting(current);
            }

            current.Ended.Set();
            TellFailure(e, pause, waiting);
        }
    }

    private static ModelUse[] TakeWaiting(ModelLoad ended)
    {
        ModelUse[] waiting = [.. ended.Waiting];
        ended.Waiting.Clear();
        return waiting;
    }

    /// <summary>Notes a failed load or a lost model. To be called under the lock.</summary>
    /// <returns>The pause before the next attempt without traffic.</returns>
    private TimeSpan NoteFailure(Exception error)
    {
        lastFailure = error;
        TimeSpan pause = FirstRetry * Math.Pow(2, Math.Min(failedLoads++, 10));
        return pause < LongestRetry ? pause : LongestRetry;
    }

    /// <summary>Counts a failed load, then answers those who wait, then tells the log.</summary>
    private void TellFailure(Exception error, TimeSpan pause, ModelUse[] waiting)
    {
        // A disposed model stays so: there is nothing to wait for.
        string? opened = IsModelDisposed ? null : breaker.LoadFailed(error);
        Array.ForEach(waiting, use => use.Fail(error));
        if (!IsModelDisposed)
        {
            Schedule(pause);
        }

        telemetry.LoadFailed(error);
        telemetry.BreakerOpened(opened);
    }

    /// <summary>Sets the timer of the next attempt. If it cannot be set, the next call tries.</summary>
    private void Schedule(TimeSpan pause) => retry.Fire(pause);

    /// <summary>Tries a failed load again although no call needs the model, so that a service becomes ready by itself.</summary>
    private void Retry() => telemetry.Guarded(() => BeginLoad(forUser: false));

    private LoadedModel Load()
    {
        StellaMemoryEstimate estimate = source.Estimate(options.EffectiveThreads, limits.BatchTokens);
        long stays = estimate.WeightsBytes + estimate.TokenizerBytes;
        // The first worker is a part of the load: a model that no worker fits beside would be read in vain.
        long peak = Saturating.Add(stays, Math.Max(estimate.LoadingBytes, estimate.SessionBytes));
        MemoryReservation reservation = governor.Reserve(source.Name, peak);
        IPoolModel? model = null;
        MemoryReservation? worker = null;
        WorkerGroup? crew = null;
        try
        {
            model = source.Load();
            limits.Follow(model.Info);
            worker = reservation.Split($"worker 1 of {source.Name}", estimate.SessionBytes, rest: stays);
            crew = makeCrew(new LoadedParts(model, limits.BatchTokens, reservation, worker, estimate));
            lock (gate)
            {
                _ = crews.Add(crew);
            }

            crew.StartFirst();
            return new LoadedModel(model, crew, reservation);
        }
        catch
        {
            if (crew is not null)
            {
                _ = StopAsync(crew, joinTimeout).GetAwaiter().GetResult();
            }
            else
            {
                model?.Dispose();
                worker?.Dispose();
                reservation.Dispose();
            }

            throw;
        }
    }
}

/// <summary>The resources of a model's workers, which the last worker frees.</summary>
/// <param name="Model">The model.</param>
/// <param name="BatchTokens">The tokens of a batch. The pool's limit may follow another model while these workers end.</param>
/// <param name="Reservation">The memory of the model.</param>
/// <param name="Worker">The memory of the first worker.</param>
/// <param name="Estimate">The estimated memory of the model and of a worker.</param>
internal sealed record LoadedParts(
    IPoolModel Model, int BatchTokens, MemoryReservation Reservation, MemoryReservation Worker, StellaMemoryEstimate Estimate);
