using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Runtime;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Cluster.Telemetry;

namespace StellaInterop.Cluster.Nodes;

/// <summary>Works on the jobs of the cluster, one at a time, the oldest first.</summary>
/// <remarks>
/// The vectors are computed by the threads of the pool, and files are read and written by those of .NET. The threads of the grains do neither.
/// </remarks>
internal sealed class NodeWorker(IGrainFactory grains, ILocalSiloDetails silo, NodeOptions options, ILogger<NodeWorker> logger) : BackgroundService
{
    /// <summary>The time after which a node asks again for the list of jobs.</summary>
    private static readonly TimeSpan HelloTime = TimeSpan.FromSeconds(2);

    private readonly Dictionary<string, Refusal> refusals = new(StringComparer.Ordinal);
    private readonly LoggedFault listAway = new(reason => ClusterLog.ListAway(logger, reason));
    private readonly Lock gate = new();
    private IReadOnlyList<JobEntry> jobs = [];

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        Task greeting = GreetAsync(stoppingToken);
        while (!stoppingToken.IsCancellationRequested)
        {
            bool isBusy = false;
            foreach (JobEntry job in jobs.Where(IsOpen))
            {
                isBusy |= await WorkAsync(job, stoppingToken).ConfigureAwait(false);
            }

            if (!isBusy)
            {
                await Task.Delay(HelloTime / 2, options.Clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }

        await greeting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>Works on a job until it has nothing for this node.</summary>
    /// <returns>Whether the node may have done something.</returns>
    private async Task<bool> WorkAsync(JobEntry job, CancellationToken stoppingToken)
    {
        try
        {
            using var session = new JobSession(job, Info(), options, grains.GetGrain<IJobGrain>(job.Folder), () => HasOthers(job.Folder), logger);
            await session.RunAsync(stoppingToken).ConfigureAwait(false);
            Accept(job.Folder);
            return false;
        }
        catch (UnfitException e)
        {
            Refuse(job.Folder, e.Message, e.Pause);
            return false;
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            return true;
        }
#pragma warning disable CA1031 // The coordinator may be away in any way, or the folder. The node tries again.
        catch (Exception e)
#pragma warning restore CA1031
        {
            Refuse(job.Folder, e.Message, HelloTime);
            return false;
        }
    }

    /// <summary>Tells the list of jobs that the node is there, and hears the list. Without an answer the last list is good enough.</summary>
    private async Task GreetAsync(CancellationToken stoppingToken)
    {
        IDirectoryGrain directory = grains.GetGrain<IDirectoryGrain>(0);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                jobs = await directory.HelloAsync(Info()).WaitAsync(stoppingToken).ConfigureAwait(false);
                listAway.End();
                Prune();
            }
#pragma warning disable CA1031 // The list of jobs may be away in any way.
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
#pragma warning restore CA1031
            {
                listAway.Begin(e);
            }

            await Task.Delay(HelloTime, options.Clock, stoppingToken).ConfigureAwait(false);
        }
    }

    private NodeInfo Info()
    {
        lock (gate)
        {
            return new NodeInfo
            {
                Id = silo.SiloAddress.ToParsableString(),
                Machine = options.Machine,
                Address = silo.SiloAddress.Endpoint.ToString(),
                Level = options.Level,
                Version = options.Version,
                Model = options.ModelName,
                Refusals = refusals.ToDictionary(refusal => refusal.Key, refusal => refusal.Value.Reason),
            };
        }
    }

    private void Refuse(string folder, string reason, TimeSpan pause)
    {
        lock (gate)
        {
            if (!refusals.TryGetValue(folder, out Refusal? before) || before.Reason != reason)
            {
                ClusterLog.Refused(logger, folder, reason);
            }

            refusals[folder] = new Refusal(reason, options.Clock.GetTimestamp(), pause);
        }
    }

    private void Accept(string folder)
    {
        lock (gate)
        {
            refusals.Remove(folder);
        }
    }

    private bool IsRefused(string folder)
    {
        lock (gate)
        {
            return refusals.TryGetValue(folder, out Refusal? refusal) && options.Clock.GetElapsedTime(refusal.Time) < refusal.Pause;
        }
    }

    private bool IsOpen(JobEntry job) => job.Wish != JobWish.Pause && !IsRefused(job.Folder);

    private bool HasOthers(string folder) => jobs.Any(job => job.Folder != folder && IsOpen(job));

    /// <summary>Forgets the reasons for jobs that have ended.</summary>
    private void Prune()
    {
        lock (gate)
        {
            foreach (string ended in refusals.Keys.Except(jobs.Select(job => job.Folder)).ToArray())
            {
                refusals.Remove(ended);
            }
        }
    }

    private sealed record Refusal(string Reason, long Time, TimeSpan Pause);
}
