namespace StellaInterop.Pooling;

/// <summary>The workers of a model while it is loaded: starts them, adds some when work waits, lets idle ones go, replaces broken ones.</summary>
internal sealed class WorkerCrew(
    IPoolModel model,
    StellaMemoryEstimate estimate,
    StellaPoolOptions options,
    Scheduler scheduler,
    CircuitBreaker breaker,
    ResultCache? cache,
    StellaMemoryGovernor governor,
    PoolTelemetry telemetry,
    Action<WorkerCrew, Exception> lost)
{
    /// <summary>After a worker could not be started, none is tried for this long.</summary>
    private static readonly TimeSpan RefusalPause = TimeSpan.FromSeconds(5);

    private readonly Lock gate = new();
    private readonly List<PoolWorker> workers = [];
    private int made;
    private bool stopping;
    private long? refusedAt;

    /// <summary>Workers that were not told to end. Those that were stay in the list until they have, to be waited for.</summary>
    private int Staying => workers.Count(worker => !worker.IsStopping);

    public Scheduler Scheduler => scheduler;

    public ResultCache? Cache => cache;

    public TimeProvider Time => options.TimeProvider;

    /// <summary>Bytes that the workers have reserved.</summary>
    public long ReservedBytes
    {
        get
        {
            lock (gate)
            {
                return workers.Count * estimate.SessionBytes;
            }
        }
    }

    /// <summary>Workers, those that are at a batch, and the longest time that one has been at it.</summary>
    public (int Workers, int Busy, TimeSpan Longest, bool Refused) State
    {
        get
        {
            lock (gate)
            {
                // Once: a worker that is busy now may be idle at the next look.
                TimeSpan[] batches = [.. workers.Where(worker => worker.IsBusy).Select(worker => worker.InState)];
                return (Staying, batches.Length, batches.DefaultIfEmpty().Max(), RecentlyRefused());
            }
        }
    }

    /// <summary>Starts the workers that stay, and waits for them.</summary>
    public void StartFirst()
    {
        var first = new List<PoolWorker>();
        for (int i = 0; i < Math.Max(1, options.MinWorkers); i++)
        {
            first.Add(Start()!);
        }

        foreach (PoolWorker worker in first)
        {
            worker.Started.GetAwaiter().GetResult();
        }
    }

    /// <summary>Adds a worker when more waits than those there are take at once.</summary>
    public void Grow()
    {
        SchedulerState state = scheduler.State;
        lock (gate)
        {
            if (state.IdleTakers > 0
                || Staying >= options.EffectiveMaxWorkers
                || state.QueuedTokens <= (long)Staying * options.EffectiveBatchTokens
                || RecentlyRefused())
            {
                return;
            }

            _ = Start();
        }
    }

    /// <summary>Ends workers beyond those that stay which have had nothing to do for long.</summary>
    public void Shrink()
    {
        lock (gate)
        {
            foreach (PoolWorker worker in workers.Where(worker => !worker.IsBusy && worker.InState >= options.IdleTimeout))
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

    /// <summary>Ends all workers after their batches, and waits for them.</summary>
    /// <returns>How many did not end in time.</returns>
    public int Stop(TimeSpan timeout)
    {
        PoolWorker[] all;
        lock (gate)
        {
            stopping = true;
            all = [.. workers];
        }

        Array.ForEach(all, worker => worker.Stop());
        long begin = TimeProvider.System.GetTimestamp();
        return all.Count(worker =>
        {
            TimeSpan left = timeout - TimeProvider.System.GetElapsedTime(begin);
            return !worker.Join(left > TimeSpan.Zero ? left : TimeSpan.Zero);
        });
    }

    public MemoryReservation ReserveSession(PoolWorker worker) =>
        governor.Reserve($"worker {worker.Number} of {telemetry.ModelName}", estimate.SessionBytes);

    public IPoolSession StartSession() => model.StartSession(options.EffectiveThreads, options.EffectiveBatchTokens);

    public void HasStarted(PoolWorker worker) => telemetry.WorkerStarted(worker.Number);

    /// <summary>A worker did not get what it needs. If it was the only one, nobody would ever answer those who wait.</summary>
    public void FailedToStart(PoolWorker worker, Exception error)
    {
        bool none;
        lock (gate)
        {
            _ = workers.Remove(worker);
            refusedAt = Time.GetTimestamp();
            none = Staying == 0 && !stopping;
        }

        telemetry.WorkerRefused(worker.Number, error);
        if (none)
        {
            lost(this, error);
        }
    }

    /// <summary>A worker has ended; a broken one gets a successor.</summary>
    public void HasEnded(PoolWorker worker, Exception? broken)
    {
        bool replaced;
        lock (gate)
        {
            _ = workers.Remove(worker);
            // Under the same lock: who finds the place empty meanwhile would fill it too.
            replaced = broken is not null && Start() is not null;
        }

        telemetry.WorkerEnded(worker.Number, broken);
        if (replaced)
        {
            breaker.Replaced(broken!);
        }
    }

    /// <summary>A forward went well.</summary>
    public void Succeeded(int texts, int tokens, TimeSpan elapsed)
    {
        breaker.Succeeded();
        scheduler.NoteSpeed(tokens, elapsed);
        telemetry.Forward(texts, tokens, elapsed);
    }

    /// <summary>A forward failed.</summary>
    public void Failed(Exception error, int texts)
    {
        breaker.Failed(error);
        telemetry.ForwardFailed(texts, error);
    }

    private PoolWorker? Start()
    {
        PoolWorker worker;
        lock (gate)
        {
            if (stopping)
            {
                return null;
            }

            // Started under the lock: who stops the workers waits for each that it finds.
            worker = new PoolWorker(this, ++made);
            workers.Add(worker);
            worker.Start();
        }

        return worker;
    }

    private bool RecentlyRefused() => refusedAt is { } at && Time.GetElapsedTime(at) < RefusalPause;
}
