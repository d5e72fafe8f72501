using StellaInterop.Bulk;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Jobs;
using StellaInterop.Cli.Options;
using StellaInterop.Cluster.Clients;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cli.Clusters;

/// <summary>Follows a job of a cluster to its end, and reports its progress. A cluster that is away for a while does not end it.</summary>
internal sealed class JobFollowing(ClusterSettings cluster, JobRequest request, BulkReport report, bool isQuiet) : IAsyncDisposable
{
    /// <summary>The exit code of a job that a user ended.</summary>
    private const int JobCancelled = 8;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    /// <summary>The time in which a shared folder shows a new file. NFS caches the names in a folder for up to a minute.</summary>
    private static readonly TimeSpan FolderDelay = TimeSpan.FromSeconds(90);

    private readonly ClusterAddress address = ClusterConnection.AddressOf(cluster);
    private readonly ClusterTls? tls = ClusterConnection.TlsOf(cluster);
    private readonly HashSet<string> shown = [];
    private readonly long start = TimeProvider.System.GetTimestamp();
    private ClusterClient? client;
    private StellaBulkPhase phase = StellaBulkPhase.Planning;
    private long phaseStart = TimeProvider.System.GetTimestamp();
    private bool isAway;
    private bool wasAway;

    /// <summary>Gets whether the cluster has the job.</summary>
    public bool IsSubmitted { get; private set; }

    private TimeSpan Elapsed => TimeProvider.System.GetElapsedTime(start);

    /// <summary>Adds the job to the list of the cluster.</summary>
    /// <exception cref="ClusterException">The cluster does not answer.</exception>
    /// <exception cref="CliException">The cluster refuses the job.</exception>
    /// <exception cref="StellaBulkException">The output folder is of another job, or cannot be written.</exception>
    public async Task SubmitAsync(CancellationToken cancellationToken)
    {
        client ??= await ClusterClient.ConnectAsync(address, tls, cancellationToken).ConfigureAwait(false);
        ClusterStatus status = await client.ListAsync(cancellationToken).ConfigureAwait(false);
        bool isOpen = status.Jobs.Any(job => job.Entry.Folder == request.Output && !job.Status.HasEnded);
        JobFolder.Begin(request, isOpen);
        if (await client.SubmitAsync(request, cancellationToken).ConfigureAwait(false) is { } refusal)
        {
            if (!isOpen)
            {
                JobFolder.Release(request.Output);
            }

            throw new CliException(ExitCode.Usage, refusal);
        }

        IsSubmitted = true;
    }

    /// <summary>Waits for the end of the job.</summary>
    /// <exception cref="CliException">The job failed, or a user ended it.</exception>
    /// <exception cref="StellaBulkException">The output folder cannot be read.</exception>
    public async Task<StellaBulkResult> RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            if (await TryListAsync(cancellationToken).ConfigureAwait(false) is { } status)
            {
                ListedJob? job = status.Jobs.FirstOrDefault(job => job.Entry.Folder == request.Output);
                if (job is null && SubmittedJob.ReadResult(request.Output, Elapsed) is { } early)
                {
                    return early;
                }

                if (job is not null)
                {
                    wasAway = false;
                    Report(job, status);
                    if (job.Status.HasEnded)
                    {
                        return await EndAsync(job.Status, cancellationToken).ConfigureAwait(false);
                    }
                }
            }

            await Task.Delay(Interval, cancellationToken).ConfigureAwait(false);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (client is { } used)
        {
            client = null;
            await used.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Lists the jobs. Submits the job again if a cluster that was away does not have it any more.</summary>
    /// <returns><see langword="null"/> if the cluster does not answer.</returns>
    private async Task<ClusterStatus?> TryListAsync(CancellationToken cancellationToken)
    {
        try
        {
            client ??= await ClusterClient.ConnectAsync(address, tls, cancellationToken).ConfigureAwait(false);
            ClusterStatus status = await client.ListAsync(cancellationToken).ConfigureAwait(false);
            if (isAway)
            {
                isAway = false;
                report.WriteMessage("The cluster answers again.");
            }

            if (status.Jobs.All(job => job.Entry.Folder != request.Output) && SubmittedJob.ReadResult(request.Output, Elapsed) is null)
            {
                if (!wasAway)
                {
                    throw new CliException((ExitCode)JobCancelled, "The job was removed from the list of the cluster. Its parts stay in the output folder.");
                }

                report.WriteMessage("The cluster does not have the job any more, so it is submitted again.");
                await SubmitAsync(cancellationToken).ConfigureAwait(false);
            }

            return status;
        }
        catch (ClusterException e)
        {
            await DisposeAsync().ConfigureAwait(false);
            if (!isAway)
            {
                (isAway, wasAway) = (true, true);
                report.WriteMessage($"{e.Message} This command keeps trying.");
            }

            return null;
        }
    }

    private async Task<StellaBulkResult> EndAsync(JobStatus job, CancellationToken cancellationToken)
    {
        switch (job.Phase)
        {
            case JobPhase.Failed:
                throw new CliException(ExitCodeOf(job), job.Message ?? "The job failed, and the cluster does not say why. See the messages of its nodes.");
            case JobPhase.Cancelled:
                throw new CliException((ExitCode)JobCancelled, "The job was cancelled. Its parts stay in the output folder, and the same command continues it.");
            default:
                long complete = TimeProvider.System.GetTimestamp();
                while (TimeProvider.System.GetElapsedTime(complete) < FolderDelay)
                {
                    if (SubmittedJob.ReadResult(request.Output, Elapsed) is { } result)
                    {
                        return result;
                    }

                    await Task.Delay(Interval, cancellationToken).ConfigureAwait(false);
                }

                throw new CliException(
                    ExitCode.Other, $"The job is complete, and this machine does not see its result in {request.Output}. Name a folder that this machine and all nodes share.");
        }
    }

    private static ExitCode ExitCodeOf(JobStatus job) =>
        Enum.TryParse(job.FailureCode, out StellaBulkErrorCode code) ? (ExitCode)BulkProgram.GetExitCode(code) : ExitCode.Other;

    private void Report(ListedJob listed, ClusterStatus status)
    {
        JobStatus job = listed.Status;
        StellaBulkPhase current = job.Phase switch
        {
            JobPhase.Waiting or JobPhase.Planning => StellaBulkPhase.Planning,
            JobPhase.Checking => StellaBulkPhase.Checking,
            _ => StellaBulkPhase.Embedding,
        };
        if (current != phase)
        {
            (phase, phaseStart) = (current, TimeProvider.System.GetTimestamp());
        }

        int made = Math.Max(0, job.ChunkCount - job.MissingPartCount);
        report.Report(new StellaBulkProgress
        {
            Phase = phase,
            RowCount = job.RowCount,
            CompletedRowCount = job.DoneRowCount,
            ChunkCount = job.ChunkCount,
            CompletedChunkCount = made,
            CompletedShare = job.DoneShare,
            ErrorCount = job.ErrorCount,
            DuplicateCount = 0,
            RowsPerSecond = job.RowsPerSecond,
            TokensPerSecond = job.TokensPerSecond,
            Elapsed = TimeProvider.System.GetElapsedTime(phaseStart),
            TimeLeft = job.TimeLeft,
        });
        if (job.HasEnded)
        {
            return;
        }

        if (listed.Entry.Wish == JobWish.Pause)
        {
            ShowOnce("The job is paused. `stella jobs resume` lets it go on.");
        }

        if (job.Message is { } message)
        {
            ShowOnce(message);
        }

        foreach (NodeInfo node in status.Nodes.Select(node => node.Info))
        {
            if (node.Refusals.TryGetValue(request.Output, out string? reason))
            {
                ShowOnce($"The node {node.Address} takes nothing of the job: {reason}");
            }
        }
    }

    private void ShowOnce(string message)
    {
        if (!isQuiet && shown.Add(message))
        {
            report.WriteMessage(message);
        }
    }
}
