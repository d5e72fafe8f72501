namespace StellaInterop.Pooling;

/// <summary>A model that is loaded and has workers.</summary>
internal sealed record LoadedModel(IPoolModel Model, WorkerCrew Crew, MemoryReservation Reservation);

/// <summary>
/// Loads a pool's model when it is first needed, once for all who wait, and unloads it when nobody uses it. A load that
/// failed is told to all who waited for it; the next call tries again. Thread-safe.
/// </summary>
internal sealed class ModelHost : IIdleMemory, IDisposable
{
    /// <summary>A forward stops at its next layer; what takes longer hangs, and waiting would hang too.</summary>
    private static readonly TimeSpan JoinTimeout = TimeSpan.FromSeconds(30);

    private readonly IPoolModelSource source;
    private readonly StellaPoolOptions options;
    private readonly StellaMemoryGovernor governor;
    private readonly CircuitBreaker breaker;
    private readonly PoolTelemetry telemetry;
    private readonly Func<IPoolModel, StellaMemoryEstimate, WorkerCrew> makeCrew;
    private readonly IDisposable registration;

    private readonly Lock gate = new();
    private Task<LoadedModel>? load;
    private Task unloading = Task.CompletedTask;
    private int users;
    private long idleSince;
    private bool closed;
    private Exception? lastFailure;

    public ModelHost(
        IPoolModelSource source,
        StellaPoolOptions options,
        StellaMemoryGovernor governor,
        CircuitBreaker breaker,
        PoolTelemetry telemetry,
        Func<IPoolModel, StellaMemoryEstimate, WorkerCrew> makeCrew)
    {
        this.source = source;
        this.options = options;
        this.governor = governor;
        this.breaker = breaker;
        this.telemetry = telemetry;
        this.makeCrew = makeCrew;
        idleSince = options.TimeProvider.GetTimestamp();
        registration = governor.Register(this);
    }

    /// <inheritdoc/>
    public string Name => source.Name;

    /// <summary>Length of the model's vectors by default, once it was loaded.</summary>
    public int? DefaultDimension { get; private set; }

    /// <inheritdoc/>
    public long? IdleSince
    {
        get
        {
            lock (gate)
            {
                return users == 0 && load is { IsCompletedSuccessfully: true } ? idleSince : null;
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

    public (StellaPoolModelState Phase, LoadedModel? Loaded, Exception? LastFailure) State
    {
        get
        {
            lock (gate)
            {
                return load switch
                {
                    _ when closed => (StellaPoolModelState.Closed, null, lastFailure),
                    null => (StellaPoolModelState.Unloaded, null, lastFailure),
                    { IsCompletedSuccessfully: true } done => (StellaPoolModelState.Loaded, done.Result, lastFailure),
                    _ => (StellaPoolModelState.Loading, null, lastFailure),
                };
            }
        }
    }

    /// <summary>The model, loaded if it is not. It stays until <see cref="Release"/>, which is due even if the load fails.</summary>
    /// <exception cref="StellaPoolClosedException">The pool is closed; nothing is to be released.</exception>
    public Task<LoadedModel> AcquireAsync()
    {
        lock (gate)
        {
            if (closed)
            {
                throw new StellaPoolClosedException($"the pool of {Name} is closed");
            }

            users++;
            return load ??= StartLoad();
        }
    }

    public void Release()
    {
        lock (gate)
        {
            if (--users == 0)
            {
                idleSince = options.TimeProvider.GetTimestamp();
            }
        }
    }

    /// <summary>Unloads the model if nobody has used it for <paramref name="idle"/>.</summary>
    /// <returns>Whether it was unloaded.</returns>
    public bool UnloadIfIdle(TimeSpan idle)
    {
        LoadedModel loaded;
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (gate)
        {
            if (closed
                || users > 0
                || load is not { IsCompletedSuccessfully: true } task
                || options.TimeProvider.GetElapsedTime(idleSince) < idle)
            {
                return false;
            }

            loaded = task.Result;
            load = null;
            unloading = done.Task;
        }

        try
        {
            Unload(loaded);
        }
        finally
        {
            done.SetResult();
        }

        return true;
    }

    /// <inheritdoc/>
    public bool TryRelease() => UnloadIfIdle(TimeSpan.Zero);

    /// <summary>Gives a model up whose workers are all lost, so that the next call loads it anew.</summary>
    public void Abandon(WorkerCrew crew)
    {
        LoadedModel? loaded = null;
        lock (gate)
        {
            if (load is { IsCompletedSuccessfully: true } task && ReferenceEquals(task.Result.Crew, crew))
            {
                loaded = task.Result;
                load = null;
            }
        }

        if (loaded is not null)
        {
            Unload(loaded);
        }
    }

    /// <summary>Takes no more users, and unloads the model when the load that may be running has ended.</summary>
    public async Task CloseAsync()
    {
        Task<LoadedModel>? last;
        Task before;
        lock (gate)
        {
            closed = true;
            last = load;
            before = unloading;
        }

        registration.Dispose();
        await before.ConfigureAwait(false);
        if (last is null)
        {
            return;
        }

        await ((Task)last).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (last.IsCompletedSuccessfully)
        {
            Unload(await last.ConfigureAwait(false));
        }
    }

    public void Dispose() => registration.Dispose();

    /// <summary>Loads on a thread of its own: it takes seconds, and the thread pool has few threads.</summary>
    private Task<LoadedModel> StartLoad()
    {
        Task before = unloading;
        var loaded = new TaskCompletionSource<LoadedModel>(TaskCreationOptions.RunContinuationsAsynchronously);
        var thread = new Thread(() =>
        {
            try
            {
                before.GetAwaiter().GetResult();
                LoadedModel model = Load();
                loaded.SetResult(model);
            }
#pragma warning disable CA1031 // Whatever it is, it reaches all who wait for the model.
            catch (Exception e)
#pragma warning restore CA1031
            {
                lock (gate)
                {
                    load = null;
                    lastFailure = e;
                }

                breaker.Failed(e);
                telemetry.LoadFailed(e);
                loaded.SetException(e);
                // Seen, even when all who waited have had another answer.
                _ = loaded.Task.Exception;
            }
        })
        {
            IsBackground = true,
            Name = "stella load",
        };
        thread.Start();
        return loaded.Task;
    }

    private LoadedModel Load()
    {
        long begin = options.TimeProvider.GetTimestamp();
        StellaMemoryEstimate estimate = source.Estimate(options.EffectiveThreads, options.EffectiveBatchTokens);
        long stays = estimate.WeightsBytes + estimate.TokenizerBytes;
        MemoryReservation reservation = governor.Reserve(source.Name, stays + estimate.LoadingBytes);
        IPoolModel? model = null;
        try
        {
            model = source.Load();
            reservation.Resize(stays);
            WorkerCrew crew = makeCrew(model, estimate);
            try
            {
                crew.StartFirst();
            }
            catch
            {
                _ = crew.Stop(JoinTimeout);
                throw;
            }

            lock (gate)
            {
                lastFailure = null;
                DefaultDimension = model.Info.DefaultDimension;
            }

            telemetry.Loaded(model.Info, options.TimeProvider.GetElapsedTime(begin));
            return new LoadedModel(model, crew, reservation);
        }
        catch
        {
            model?.Dispose();
            reservation.Dispose();
            throw;
        }
    }

    private void Unload(LoadedModel loaded)
    {
        int stuck = loaded.Crew.Stop(JoinTimeout);
        if (stuck > 0)
        {
            telemetry.WorkersStuck(stuck, JoinTimeout);
        }

        loaded.Model.Dispose();
        loaded.Reservation.Dispose();
        telemetry.Unloaded();
    }
}
