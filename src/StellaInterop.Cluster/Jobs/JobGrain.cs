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

    /// <summary>The reports for which a coordinator of a job that is not in the list tells nodes to leave, before it ends: each node reports in this time.</summary>
    private const int UnlistedReports = 15;

    private readonly Lock gate = new();
    private readonly LoggedFault listAway = new(reason => ClusterLog.ListAway(logger, reason));
    private JobCoordinator? coordinator;
    private IGrainTimer? timer;
    private Task reporting = Task.CompletedTask;
    private int unlisted;

    /// <summary>Why the folder failed last, and since when it fails on this machine; <see langword="null"/> while it does not.</summary>
    private (string Message, long Since)? trouble;

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
        JobOrder? order = await Directory.StatusAsync(new JobStatus { Folder = Folder }).ConfigureAwait(true);
        if (order is null)
        {
            return "";
        }

        string? refusal = await OnFolder(() =>
        {
            coordinator!.SetOrder(order);
            return coordinator.Open(node, job);
        }).ConfigureAwait(true);
        if (coordinator!.LacksFolder)
        {
            Move();
        }

        return refusal;
    }

    public async Task<JobAnswer> ReportAsync(NodeReport report)
    {
        try
        {
            return await OnFolder(() =>
            {
                JobAnswer answer = coordinator!.Report(report);
                trouble = answer.Kind is WorkKind.Part or WorkKind.Plan or WorkKind.Complete ? null : trouble;
                return answer;
            }).ConfigureAwait(true);
        }
        catch (IOException) when (trouble is { } now && services.Clock.GetElapsedTime(now.Since) > services.Policy.LeaseTime)
        {
            Move();
            throw;
        }
    }

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
        catch (IOException)
        {
            // It is logged, and `trouble` has it for the user.
        }

        if (reporting.IsCompleted)
        {
            // Not awaited here: the list of jobs may be away, and the nodes must be heard meanwhile.
            reporting = TellAsync();
        }
    }

    /// <summary>Tells the list of jobs the state of the job, and hears what the user wants.</summary>
    private async Task TellAsync()
    {
        try
        {
            (JobStatus status, bool hasEnded) = await OnFolder(() => (coordinator!.GetStatus(Folder, trouble?.Message), coordinator.HasEnded)).ConfigureAwait(true);
            JobOrder? order = await Directory.StatusAsync(status).ConfigureAwait(true);
            listAway.End();
            unlisted = order is null ? unlisted + 1 : 0;
            _ = await OnFolder(() =>
            {
                coordinator!.SetOrder(order);
                return true;
            }).ConfigureAwait(true);
            if (hasEnded || (order is null && (status.Phase == JobPhase.Waiting || unlisted > UnlistedReports)))
            {
                DeactivateOnIdle();
            }
        }
#pragma warning disable CA1031 // The list of jobs may be away in any way. The job goes on.
        catch (Exception e)
#pragma warning restore CA1031
        {
            listAway.Begin(e);
            _ = await OnFolder(() =>
            {
                coordinator!.AssumeOrder();
                return true;
            }).ConfigureAwait(true);
        }
    }

    /// <summary>Ends this coordinator, because its machine has no use of the folder. The next node that calls has the coordinator then.</summary>
    private void Move()
    {
        ClusterLog.CoordinatorMoves(logger, Folder);
        DeactivateOnIdle();
    }

    /// <summary>Runs an action on the coordinator, one at a time. Reports to the list of jobs run beside the calls of nodes.</summary>
    private Task<T> OnFolder<T>(Func<T> action) => Task.Run(() =>
    {
        lock (gate)
        {
            try
            {
                return OutputErrors.Guarded(Folder, action);
            }
            catch (StellaBulkException e)
            {
                // A disk that is full is so on every machine.
                long since = e.Code == StellaBulkErrorCode.OutputFull ? services.Clock.GetTimestamp() : trouble?.Since ?? services.Clock.GetTimestamp();
                if (trouble?.Message != e.Message)
                {
                    ClusterLog.FolderFailed(logger, Folder, e.Message);
                }

                trouble = (e.Message, since);
                // Orleans carries the exceptions of .NET to the caller, and no others.
                throw new IOException(e.Message, e.InnerException);
            }
        }
    });
}
