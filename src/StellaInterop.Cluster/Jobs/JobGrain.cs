using Microsoft.Extensions.Logging;
using Orleans.Placement;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Cluster.Leases;
using StellaInterop.Cluster.Telemetry;

namespace StellaInterop.Cluster.Jobs;

/// <summary>Represents what the coordinators of a node have in common.</summary>
/// <param name="OpenFolder">Opens an output folder.</param>
/// <param name="Clock">The clock of leases.</param>
/// <param name="Policy">The times and limits of leases.</param>
/// <param name="HasEnded">Returns whether a node has ended, by the membership of the cluster.</param>
/// <param name="Safeguards">The safeguards; all but in tests.</param>
internal sealed record CoordinatorServices(
    Func<string, IOutputFolder> OpenFolder, TimeProvider Clock, LeasePolicy Policy, Predicate<string> HasEnded, Safeguards Safeguards);

/// <summary>Gives a coordinator its place in the cluster. It lives on a node that works on the job, which has the folder.</summary>
[PreferLocalPlacement]
internal sealed class JobGrain(CoordinatorServices services, ILogger<JobGrain> logger) : Grain, IJobGrain
{
    private static readonly TimeSpan TickTime = TimeSpan.FromSeconds(1);

    private readonly Lock gate = new();
    private JobCoordinator? coordinator;
    private IGrainTimer? timer;
    private Task reporting = Task.CompletedTask;

    private string Folder => this.GetPrimaryKeyString();

    private IDirectoryGrain Directory => GrainFactory.GetGrain<IDirectoryGrain>(0);

    public override async Task OnActivateAsync(CancellationToken cancellationToken)
    {
        // Files are read on another thread, because this one belongs to all grains.
        coordinator = await OnFolder(() => new JobCoordinator(services.OpenFolder(Folder), services.Clock, services.Policy, services.Safeguards)).ConfigureAwait(true);
        timer = this.RegisterGrainTimer(TickAsync, new GrainTimerCreationOptions(TimeSpan.Zero, TickTime) { KeepAlive = true });
    }

    public override Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellationToken)
    {
        timer?.Dispose();
        coordinator?.Dispose();
        return Task.CompletedTask;
    }

    public async Task<string?> OpenAsync(NodeInfo node, string request)
    {
        JobRequest job = JobRequest.Parse(request);
        JobWish? wish = await Directory.StatusAsync(new JobStatus { Folder = Folder }).ConfigureAwait(true);
        if (wish is null)
        {
            return "";
        }

        return await OnFolder(() =>
        {
            coordinator!.SetWish(wish);
            return coordinator.Open(node, job);
        }).ConfigureAwait(true);
    }

    public Task<JobAnswer> ReportAsync(NodeReport report) => OnFolder(() => coordinator!.Report(report));

    private async Task TickAsync(CancellationToken cancellationToken)
    {
        try
        {
            await OnFolder(() =>
            {
                coordinator!.Tick(services.HasEnded);
                return true;
            }).ConfigureAwait(true);
        }
        catch (IOException e)
        {
            ClusterLog.FolderFailed(logger, Folder, e.Message);
        }

        if (reporting.IsCompleted)
        {
            // Not awaited here: the list of jobs may be away, and the nodes must be heard meanwhile.
            reporting = ReportAsync();
        }
    }

    private async Task ReportAsync()
    {
        try
        {
            (JobStatus status, bool hasEnded) = await OnFolder(() => (coordinator!.GetStatus(Folder), coordinator.HasEnded)).ConfigureAwait(true);
            JobWish? wish = await Directory.StatusAsync(status).ConfigureAwait(true);
            if (hasEnded || (wish is null && status.Phase == JobPhase.Waiting))
            {
                DeactivateOnIdle();
            }
            else
            {
                await SetWishAsync(wish).ConfigureAwait(true);
            }
        }
#pragma warning disable CA1031 // The list of jobs may be away in any way. The job goes on.
        catch (Exception e)
#pragma warning restore CA1031
        {
            ClusterLog.ListAway(logger, e.Message);
            await SetWishAsync(coordinator!.Wish ?? JobWish.Run).ConfigureAwait(true);
        }
    }

    private Task<bool> SetWishAsync(JobWish? wish) => OnFolder(() =>
    {
        coordinator!.SetWish(wish);
        return true;
    });

    /// <summary>Runs an action on the coordinator, one at a time. Reports to the list of jobs run beside the calls of nodes.</summary>
    private Task<T> OnFolder<T>(Func<T> action) => Task.Run(() =>
    {
        try
        {
            lock (gate)
            {
                return OutputErrors.Guarded(Folder, action);
            }
        }
        catch (StellaBulkException e)
        {
            // Orleans carries the exceptions of .NET to the caller, and no others.
            throw new IOException(e.Message, e.InnerException);
        }
    });
}
