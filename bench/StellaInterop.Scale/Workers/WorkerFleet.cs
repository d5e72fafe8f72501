using StellaInterop.Scale.Silos;

namespace StellaInterop.Scale.Workers;

/// <summary>Represents all workers of a simulation, of which one is lost now and then.</summary>
internal sealed class WorkerFleet(SimulationOptions options, IReadOnlyList<IGrainFactory> grains, CallMeter calls) : IAsyncDisposable
{
    /// <summary>
    /// The time from the start of one worker to the next. A worker reads the plan first, for which each node has its own processors. Here, all workers
    /// share those of one machine.
    /// </summary>
    private static readonly TimeSpan JoinTime = TimeSpan.FromMilliseconds(200);

    private readonly Random random = new(options.Seed);
    private readonly Lock gate = new();
    private readonly List<WorkerLife> lives = [];
    private readonly int[] starts = new int[options.WorkerCount];
    private readonly SimulatedWorker?[] workers = new SimulatedWorker?[options.WorkerCount];

    /// <summary>Gets the lives of all workers. A worker that was lost and came back has two.</summary>
    public IReadOnlyList<WorkerLife> Lives
    {
        get
        {
            lock (gate)
            {
                return [.. lives];
            }
        }
    }

    /// <summary>Gets the number of workers that were lost.</summary>
    public int LossCount { get; private set; }

    /// <summary>Starts all workers, one after the other.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        for (int machine = 0; machine < workers.Length; machine++)
        {
            await StartWorkerAsync(machine).ConfigureAwait(false);
            await Task.Delay(JoinTime, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Loses workers and brings them back, until it is cancelled.</summary>
    public async Task LoseAsync(CancellationToken stop)
    {
        var returns = new List<Task>();
        try
        {
            while (true)
            {
                await Task.Delay(options.LossTime, stop).ConfigureAwait(false);
                int[] alive = [.. Enumerable.Range(0, workers.Length).Where(machine => workers[machine] is not null)];
                if (alive.Length > 0)
                {
                    int machine = alive[random.Next(alive.Length)];
                    SimulatedWorker lost = workers[machine]!;
                    workers[machine] = null;
                    LossCount++;
                    await lost.LoseAsync().ConfigureAwait(false);
                    await lost.DisposeAsync().ConfigureAwait(false);
                    returns.Add(ReturnAsync(machine, stop));
                }
            }
        }
        finally
        {
            await Task.WhenAll(returns).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Writes no more warnings of the workers.</summary>
    public void Mute()
    {
        foreach (SimulatedWorker? worker in workers)
        {
            worker?.Mute();
        }
    }

    public async ValueTask DisposeAsync() =>
        await Task.WhenAll(workers.Select(async worker =>
        {
            if (worker is not null)
            {
                await worker.DisposeAsync().ConfigureAwait(false);
            }
        })).ConfigureAwait(false);

    private async Task ReturnAsync(int machine, CancellationToken stop)
    {
        await Task.Delay(options.ReturnTime, stop).ConfigureAwait(false);
        await StartWorkerAsync(machine).ConfigureAwait(false);
    }

    private Task StartWorkerAsync(int machine)
    {
        var worker = new SimulatedWorker(machine, ++starts[machine], options, grains[machine % grains.Count], calls);
        lock (gate)
        {
            lives.Add(worker.Life);
        }

        workers[machine] = worker;
        return worker.StartAsync();
    }
}
