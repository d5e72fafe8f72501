using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>
/// Loads a pool's model when it is first needed, once for all calls that wait, and unloads it when no call uses it. All waiting
/// calls get the error of a load that failed. The next call tries again, and so does the host by itself after growing pauses.
/// Thread-safe.
/// </summary>
internal sealed class ModelHost : IIdleMemory, IDisposable
{
    private readonly IPoolModelSource source;
    private readonly PoolServices pool;
    private readonly StellaMemoryGovernor governor;
    private readonly TimeSpan joinTimeout;
    private readonly PoolTimer retryTimer;
    private readonly ModelLifetime lifetime;
    private readonly IDisposable registration;

    private readonly Lock excusedGate = new();

    /// <summary>The threads that a close does not wait for, because code of the caller on them waits for the close.</summary>
    private readonly List<PoolThread> excused = [];
    private volatile StellaModelInfo? info;

    public ModelHost(IPoolModelSource source, PoolServices pool, StellaMemoryGovernor governor)
    {
        this.source = source;
        this.pool = pool;
        this.governor = governor;
        joinTimeout = pool.Options.JoinTimeout;
        if (source.Info is { } known)
        {
            info = known;
            pool.Limits.Follow(known);
        }

        retryTimer = pool.Clock.CreateTimer(
            static state => ((ModelHost)state!).Retry(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        lifetime = new ModelLifetime(source.Name, pool.Clock, governor, retryTimer);
        Fingerprint = new FingerprintReader(this, pool.Options.StartThread, pool.Telemetry);
        registration = governor.Register(this);
    }

    /// <inheritdoc/>
    public string Name => source.Name;

    /// <summary>Gets the reader of the model's fingerprint.</summary>
    public FingerprintReader Fingerprint { get; }

    /// <summary>Gets whether the owner of the model disposed it.</summary>
    public bool IsModelDisposed => source.IsDisposed;

    /// <summary>Gets the description of the model; <see langword="null"/> before the first load.</summary>
    public StellaModelInfo? Info => info;

    public ModelState State => lifetime.State;

    /// <inheritdoc/>
    public long? IdleSince => lifetime.IdleSince;

    /// <inheritdoc/>
    public long IdleBytes
    {
        get
        {
            LoadedModel? loaded = IdleSince is null ? null : State.Loaded;
            return loaded is null ? 0 : loaded.Reservation.Bytes + loaded.Workers.ReservedBytes;
        }
    }

    /// <summary>Uses the model for a call, and loads it if it is not loaded. The model stays until the use is disposed.</summary>
    /// <exception cref="StellaPoolClosedException">The pool is closed.</exception>
    /// <exception cref="StellaThreadException">The system refused the thread of the load.</exception>
    public ModelUse Use()
    {
        FailedLoad? failed = null;
        long now = pool.Clock.Now;
        try
        {
            return lifetime.Use(unloading => StartLoad(unloading, now), out failed);
        }
        catch (StellaThreadException e) when (failed is { } refused)
        {
            Report(refused, e);
            throw;
        }
    }

    /// <summary>Unloads the model if no call has used it for <paramref name="idle"/>.</summary>
    /// <returns>Whether it was unloaded.</returns>
    public bool UnloadIfIdle(TimeSpan idle)
    {
        if (lifetime.TakeIfIdle(idle) is not var (loaded, unloaded))
        {
            return false;
        }

        int stuck = 0;
        try
        {
            stuck = StopAsync(loaded.Workers).GetAwaiter().GetResult();
        }
        finally
        {
            unloaded.Set();
        }

        ReportUnloaded(stuck);
        return true;
    }

    /// <inheritdoc/>
    public bool TryRelease() => UnloadIfIdle(TimeSpan.Zero);

    /// <summary>Lets a close not wait for the calling thread, if it is the thread of a load, a worker or a fingerprint.</summary>
    /// <returns>Whether it is one of these threads.</returns>
    public bool ExcuseCurrentThread()
    {
        PoolThread? reader = Fingerprint.Thread;
        lock (excusedGate)
        {
            _ = excused.RemoveAll(ended => ended.HasEnded);
            if (excused.Exists(known => known.IsCurrent))
            {
                return true;
            }
        }

        (PoolThread? loader, WorkerGroup[] groups) = lifetime.Threads;
        PoolThread? thread = reader is { IsCurrent: true } ? reader : loader;
        if (thread is { IsCurrent: true })
        {
            thread.Excuse();
        }
        else
        {
            thread = groups.Select(group => group.ExcuseCurrentThread()).FirstOrDefault(worker => worker is not null);
        }

        if (thread is null)
        {
            return false;
        }

        lock (excusedGate)
        {
            excused.Add(thread);
        }

        return true;
    }

    /// <summary>Waits on another thread until the excused threads end. The close that they waited for inside code of the caller is done.</summary>
    public void WaitForExcused()
    {
        PoolThread[] all;
        lock (excusedGate)
        {
            all = [.. excused];
        }

        _ = Task.WhenAll(all.Select(thread => thread.WaitEndedAsync())).Wait(joinTimeout);
    }

    /// <summary>Refuses uses from now on, and unloads the model after the load that may be running.</summary>
    /// <returns>The number of workers that did not end in time; <see langword="null"/> if no model was loaded.</returns>
    public async Task<int?> CloseAsync()
    {
        (ModelLoad? last, Signal unloading) = lifetime.Close();
        Dispose();
        await unloading.WaitAsync().ConfigureAwait(false);
        int? stuck = last is null ? null : await StopAsync(last).ConfigureAwait(false);
        if (Fingerprint.Thread is { } reader)
        {
            // The thread may still read files of the model. By the system's clock: the caller's clock may stand still.
            await new PoolClock(TimeProvider.System).WaitAsync(reader.WaitGoneAsync(), joinTimeout).ConfigureAwait(false);
        }

        return stuck;
    }

    public void Dispose()
    {
        registration.Dispose();
        retryTimer.Dispose();
    }

    /// <summary>Reports that a model was unloaded.</summary>
    public void ReportUnloaded(int stuckWorkers)
    {
        if (stuckWorkers > 0)
        {
            pool.Telemetry.WorkersStuck(stuckWorkers, joinTimeout);
        }

        pool.Telemetry.Unloaded();
    }

    /// <summary>Ends the workers of the model that a load makes or made.</summary>
    /// <returns>The number of workers that did not end in time; <see langword="null"/> if the load made no model.</returns>
    private async Task<int?> StopAsync(ModelLoad last)
    {
        // A load that waits for this close is not waited for, and frees by itself what it makes from here on.
        _ = await Task.WhenAny(last.Ended.WaitAsync(), last.Thread.WaitGoneAsync()).ConfigureAwait(false);
        LoadedModel? model = lifetime.ModelOf(last);
        return model is null ? null : await StopAsync(model.Workers).ConfigureAwait(false);
    }

    /// <summary>Ends the workers of a model. The last of them frees it.</summary>
    /// <returns>The number of workers that did not end in time.</returns>
    private async Task<int> StopAsync(WorkerGroup group)
    {
        int stuck = await group.StopAsync(joinTimeout).ConfigureAwait(false);
        lifetime.Remove(group);
        return stuck;
    }

    /// <summary>Starts a load on a thread of its own: it takes seconds, and the thread pool has few threads.</summary>
    /// <exception cref="StellaThreadException">The system refused the thread.</exception>
    private ModelLoad StartLoad(Signal unloading, long now)
    {
        ModelLoad? started = null;
        var thread = new PoolThread("stella load", () => RunLoad(started!, unloading), pool.Telemetry.ThreadFailed);
        started = new ModelLoad(now) { Thread = thread };
        thread.Start(pool.Options.StartThread);
        return started;
    }

    private void RunLoad(ModelLoad current, Signal unloading)
    {
        try
        {
            unloading.WaitAsync().GetAwaiter().GetResult();
            LoadedModel loaded = Load();
            bool closedBreaker = pool.Breaker.Loaded();
            info = loaded.Model.Info;
            if (!lifetime.TryAccept(current, loaded, out ModelUse[] waiting))
            {
                _ = StopAsync(loaded.Workers).GetAwaiter().GetResult();
                throw loaded.Workers.LostTo ?? new StellaPoolClosedException($"The pool of {Name} was closed during the load.");
            }

            Array.ForEach(waiting, use => use.Set(loaded));
            current.Ended.Set();
            pool.Telemetry.Loaded(loaded.Model.Info, pool.Clock.Since(current.Since));
            pool.Telemetry.BreakerClosed(closedBreaker);
        }
#pragma warning disable CA1031 // Any error is the answer of the calls that wait for the model.
        catch (Exception e) when (!current.Ended.IsSet)
#pragma warning restore CA1031
        {
            FailedLoad failed = lifetime.Fail(current, e);
            current.Ended.Set();
            Report(failed, e);
        }
    }

    /// <summary>Counts a failed load, answers the calls that wait for it, and logs it.</summary>
    private void Report(FailedLoad failed, Exception error)
    {
        // A disposed model cannot be loaded again, so there is nothing to retry.
        string? opened = IsModelDisposed ? null : pool.Breaker.LoadFailed(error);
        if (!IsModelDisposed)
        {
            // A caller that got the error may rely on the retry. If the timer cannot be set, the next call tries.
            retryTimer.Fire(failed.RetryAfter);
        }

        Array.ForEach(failed.Waiting, use => use.Fail(error));
        pool.Telemetry.LoadFailed(error);
        pool.Telemetry.BreakerOpened(opened);
    }

    /// <summary>Tries a failed load again although no call needs the model, so that a service becomes ready by itself.</summary>
    private void Retry() => pool.Telemetry.Guarded(() =>
    {
        FailedLoad? failed = null;
        long now = pool.Clock.Now;
        try
        {
            lifetime.LoadAgain(unloading => StartLoad(unloading, now), out failed);
        }
        catch (StellaThreadException e) when (failed is { } refused)
        {
            Report(refused, e);
        }
    });

    private LoadedModel Load()
    {
        StellaMemoryEstimate estimate = source.Estimate(pool.Options.EffectiveThreads, pool.Limits.BatchTokens);
        long stays = estimate.WeightsBytes + estimate.TokenizerBytes;
        // The first worker is a part of the load: a model that no worker fits beside would be read in vain.
        long peak = Saturating.Add(stays, Math.Max(estimate.LoadingBytes, estimate.SessionBytes));
        MemoryReservation reservation = governor.Reserve(source.Name, peak);
        IPoolModel? model = null;
        MemoryReservation? worker = null;
        WorkerGroup? group = null;
        try
        {
            model = source.Load();
            pool.Limits.Follow(model.Info);
            worker = reservation.Split($"worker 1 of {source.Name}", estimate.SessionBytes, rest: stays);
            group = new WorkerGroup(new WorkerResources(model, pool.Limits.BatchTokens, reservation, worker, estimate), pool, lifetime);
            lifetime.Add(group);
            group.StartFirst();
            return new LoadedModel(model, group, reservation);
        }
        catch
        {
            if (group is not null)
            {
                _ = StopAsync(group).GetAwaiter().GetResult();
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
