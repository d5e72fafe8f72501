using System.Diagnostics;
using System.Globalization;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Terminal;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Scale.Jobs;
using StellaInterop.Scale.Reporting;
using StellaInterop.Scale.Silos;
using StellaInterop.Scale.Workers;

namespace StellaInterop.Scale;

/// <summary>Runs a job of a simulation from its plan to its end.</summary>
internal sealed class ScaleRun(SimulationOptions options)
{
    /// <summary>
    /// The threads of .NET for all nodes together. Each node of a cluster has its own, and here their writes to the disk would wait for each other.
    /// </summary>
    private const int Threads = 64;

    private static readonly TimeSpan PollTime = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LogTime = TimeSpan.FromSeconds(10);

    public async Task<SimulationResult> RunAsync(CancellationToken cancellationToken)
    {
        ThreadPool.SetMinThreads(Threads, Threads);
        string folder = Directory.CreateTempSubdirectory("stella-scale-").FullName;
        // The list of jobs of this cluster is not among those of the user.
        Environment.SetEnvironmentVariable("XDG_STATE_HOME", folder);
        try
        {
            var job = new SimulatedJob(folder, options.ChunkCount);
            SimulationResult result = await RunAsync(job, cancellationToken).ConfigureAwait(false);
            // Only now no worker has temporary files in the output.
            return result with { Output = job.Read() };
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private async Task<SimulationResult> RunAsync(SimulatedJob job, CancellationToken cancellationToken)
    {
        using var calls = new CallMeter();
        SiloGroup silos = await SiloGroup.StartAsync(options.SiloCount, calls).ConfigureAwait(false);
        await using (silos.ConfigureAwait(false))
        {
            Progress.Log($"Making the plan in {job.Output}.");
            long planStart = Stopwatch.GetTimestamp();
            job.Plan(new SimulatedEmbedder(options.WorkTime, new Random(options.Seed), new WorkerLife()));
            TimeSpan planTime = Stopwatch.GetElapsedTime(planStart);

            IDirectoryGrain directory = silos.Grains[0].GetGrain<IDirectoryGrain>(0);
            JobFolder.Begin(job.Request);
            ThrowIfRefused(await directory.SubmitAsync(job.Request.ToJson()).ConfigureAwait(false));
            // Asked by its own silo, the list sends no message between silos, so that the progress of the run is not in its bytes.
            directory = silos.Grains[calls.SiloOf(directory.GetGrainId())].GetGrain<IDirectoryGrain>(0);
            (ResidentMemory before, long managedBefore) = Memory();
            IJobGrain coordinator = silos.Grains[0].GetGrain<IJobGrain>(JobRequest.FolderOf(job.Output));
            ThrowIfRefused(await coordinator.OpenAsync(SimulatedNodes.Observer(), job.Request.ToJson()).ConfigureAwait(false));
            (ResidentMemory after, long managedAfter) = Memory();

            CallCounts countsBefore = calls.Read();
            var fleet = new WorkerFleet(options, silos.Grains, calls);
            await using (fleet.ConfigureAwait(false))
            {
                long start = Stopwatch.GetTimestamp();
                await fleet.StartAsync(cancellationToken).ConfigureAwait(false);
                using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                Task losing = fleet.LoseAsync(stop.Token);
                _ = await UntilAsync(directory, phase => phase is not (JobPhase.Waiting or JobPhase.Planning or JobPhase.Running), cancellationToken).ConfigureAwait(false);
                CallCounts counts = calls.Read();
                ResidentMemory atEnd = ResidentMemory.Now();
                long end = calls.LastDone;
                // Workers that ask for the job once more, after its end, are refused.
                fleet.Mute();
                await stop.CancelAsync().ConfigureAwait(false);
                await losing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                JobPhase phase = await UntilAsync(directory, phase => phase is JobPhase.Complete or JobPhase.Failed or JobPhase.Cancelled, cancellationToken).ConfigureAwait(false);
                TimeSpan checkTime = Stopwatch.GetElapsedTime(end);
                return new SimulationResult
                {
                    Options = options,
                    Throughput = new Throughput(fleet.Lives, options.ChunkCount, options.WorkTime, start, calls.LastFreshLease, end),
                    LossCount = fleet.LossCount,
                    Calls = counts - countsBefore,
                    Memory = new MemoryFigures(managedAfter - managedBefore, before, after, atEnd),
                    PlanTime = planTime,
                    CheckTime = checkTime,
                    Phase = phase,
                };
            }
        }
    }

    /// <summary>Waits until the job has a phase, and tells of its progress.</summary>
    private static async Task<JobPhase> UntilAsync(IDirectoryGrain directory, Predicate<JobPhase> isEnd, CancellationToken cancellationToken)
    {
        long logged = Stopwatch.GetTimestamp();
        while (true)
        {
            await Task.Delay(PollTime, cancellationToken).ConfigureAwait(false);
            ClusterStatus cluster = await directory.ListAsync().ConfigureAwait(false);
            JobStatus status = cluster.Jobs[0].Status;
            if (isEnd(status.Phase))
            {
                Progress.Log($"{status.Phase}: {status.Message}");
                return status.Phase;
            }

            if (Stopwatch.GetElapsedTime(logged) >= LogTime)
            {
                logged = Stopwatch.GetTimestamp();
                Progress.Log(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{status.Phase}: {status.MissingPartCount} parts to make, {status.Nodes.Sum(node => node.Leases)} leases, {status.SuspectCount} suspects, {cluster.Nodes.Count} nodes"));
                foreach (string reason in cluster.Nodes.SelectMany(node => node.Info.Refusals.Values).Distinct())
                {
                    Progress.Log($"A worker takes nothing: {reason}");
                }
            }
        }
    }

    private static (ResidentMemory Resident, long Managed) Memory() => (ResidentMemory.Measure(), GC.GetTotalMemory(forceFullCollection: true));

    private static void ThrowIfRefused(string? reason)
    {
        if (reason is not null)
        {
            throw new BenchException($"The cluster refused the job: {reason}");
        }
    }
}
