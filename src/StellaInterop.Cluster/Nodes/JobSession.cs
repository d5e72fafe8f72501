using Microsoft.Extensions.Logging;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Cluster.Telemetry;

namespace StellaInterop.Cluster.Nodes;

/// <summary>Represents the work of a node on one job: parts, and now and then the plan or the check of the output.</summary>
internal sealed class JobSession : IPartWork, IDisposable
{
    /// <summary>The time after which a node asks again for work. It grows up to <see cref="LongWaitTime"/> while the coordinator has none.</summary>
    private static readonly TimeSpan WaitTime = TimeSpan.FromMilliseconds(500);

    private static readonly TimeSpan LongWaitTime = TimeSpan.FromSeconds(4);

    /// <summary>The time after which a renewal that was not heard is repeated.</summary>
    private static readonly TimeSpan RepeatTime = TimeSpan.FromSeconds(1);

    /// <summary>The time after which a node looks again whether the folders of a job are as they should be.</summary>
    private static readonly TimeSpan LongPause = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan ShortPause = TimeSpan.FromSeconds(3);

    /// <summary>The bytes of a file that shows whether the disk has room.</summary>
    private const int ProbeBytes = 1 << 20;

    /// <summary>The time after which a node without work looks at its other jobs.</summary>
    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(5);

    /// <summary>The time that a job has a node for itself while other jobs wait.</summary>
    private static readonly TimeSpan TurnTime = TimeSpan.FromMinutes(1);

    /// <summary>The failures of the model after which the node leaves the parts to others for a while.</summary>
    private const int FailuresInRow = 3;

    private static readonly JobAnswer Yielded = new(WorkKind.Stop, null, null, IsRejection: false, []);

    private readonly NodeInfo node;
    private readonly NodeOptions options;
    private readonly IJobGrain grain;
    private readonly ILogger logger;
    private readonly Func<bool> hasOtherJobs;
    private readonly long start;
    private readonly string request;
    private readonly JobLink link;
    private readonly LoggedFault coordinatorAway;
    private readonly IEmbedder embedder;
    private readonly JobSetup setup;
    private EmbedderInfo? model;
    private JobOutput? output;
    private long tokensOfPart;
    private int failures;
    private JobAnswer? next;
    private JobAnswer? first;

    /// <param name="job">The job.</param>
    /// <param name="node">The node.</param>
    /// <param name="options">What the node works with.</param>
    /// <param name="grain">The coordinator.</param>
    /// <param name="hasOtherJobs">Returns whether other jobs wait for this node.</param>
    /// <param name="logger">The logger.</param>
    /// <exception cref="UnfitException">The node does not have the inputs.</exception>
    public JobSession(JobEntry job, NodeInfo node, NodeOptions options, IJobGrain grain, Func<bool> hasOtherJobs, ILogger logger)
    {
        start = options.Clock.GetTimestamp();
        this.hasOtherJobs = hasOtherJobs;
        this.node = node;
        this.options = options;
        this.grain = grain;
        this.logger = logger;
        request = job.Request;
        link = new JobLink(grain, node);
        coordinatorAway = new LoggedFault(reason => ClusterLog.CoordinatorAway(logger, job.Folder, reason));
        StellaBulkOptions bulk = JobRequest.Parse(job.Request).ToOptions();
        embedder = options.CreateEmbedder(bulk);
        JobParts parts = new(embedder) { OpenFolder = options.OpenFolder, Safeguards = options.Safeguards };
        if (bulk.Deduplicate)
        {
            embedder = new DeduplicatingEmbedder(embedder, parts.DuplicateBytes);
        }

        try
        {
            setup = new JobSetup(bulk, parts);
        }
        catch (StellaBulkException e)
        {
            throw new UnfitException(e.Message, LongPause, e);
        }
    }

    public void Dispose() => setup.Dispose();

    /// <summary>Works until the job has nothing more for this node.</summary>
    /// <exception cref="UnfitException">The node takes nothing of the job now.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled. The leases are given back.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        if (!await OpenAsync(cancellationToken).ConfigureAwait(false))
        {
            return;
        }

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task renewing = RenewAsync(stop.CancelAsync, stop.Token);
        try
        {
            await WorkAsync(stop.Token).ConfigureAwait(false);
        }
        catch (StellaBulkException e)
        {
            await TellAsync(e, cancellationToken).ConfigureAwait(false);
            throw Unfit(e);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            // The job has ended.
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await renewing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await LeaveAsync().ConfigureAwait(false);
        }
    }

    async ValueTask<PartTask?> IPartWork.TakeAsync(CancellationToken stop)
    {
        TimeSpan wait = WaitTime;
        while (true)
        {
            if (first is { } given)
            {
                first = null;
                return TaskOf(given);
            }

            if (link.HeldCount < options.Policy.LeasesOfNode)
            {
                JobAnswer answer = MustYield() ? Yielded : await AskAsync(stop).ConfigureAwait(false);
                if (answer.Kind == WorkKind.Part)
                {
                    return TaskOf(answer);
                }

                if (answer.Kind != WorkKind.Wait || link.HeldCount == 0)
                {
                    next = answer;
                    return null;
                }
            }

            await Task.Delay(wait, options.Clock, stop).ConfigureAwait(false);
            wait = Longer(wait);
        }
    }

    bool IPartWork.IsWanted(PartTask task) => !link.IsLost(LeaseOf(task)) && !output!.IsCommitted(task.Part);

    ValueTask IPartWork.GivenUpAsync(PartTask task)
    {
        link.Return(LeaseOf(task), isAttempt: false);
        return ValueTask.CompletedTask;
    }

    void IPartWork.Embedded(int rows, long tokens) => tokensOfPart += tokens;

    void IPartWork.Failed(PartTask task, Exception error) => link.Return(LeaseOf(task), isAttempt: error is StellaException failure && MayBeOfTexts(failure));

    ValueTask IPartWork.DoneAsync(PartTask task, PartCounts counts, bool isCommitted, string? lastFault)
    {
        long tokens = tokensOfPart;
        tokensOfPart = 0;
        failures = 0;
        if (isCommitted || output!.IsCommitted(task.Part))
        {
            link.Done(new DoneMessage(LeaseOf(task), tokens, counts.Errors, lastFault));
        }
        else
        {
            link.Return(LeaseOf(task), isAttempt: false);
        }

        return ValueTask.CompletedTask;
    }

    /// <summary>Checks that this node can work on the job, and introduces it to the coordinator.</summary>
    /// <returns><see langword="false"/> if the job has ended.</returns>
    private async Task<bool> OpenAsync(CancellationToken cancellationToken)
    {
        model = await embedder.OpenAsync(cancellationToken).ConfigureAwait(false);
        string[] differences = [.. BulkPlan.Differences(setup.SettingsOf(model), JobRequest.Parse(request).Settings)];
        if (differences.Length > 0 && options.Safeguards.HasFlag(Safeguards.Fingerprint))
        {
            throw new UnfitException(
                $"The node has another model than the job: {string.Join("; ", differences).Replace("in the output folder", "in the job", StringComparison.Ordinal)}. Start it with the model of the job.", LongPause);
        }

        bool isComplete;
        try
        {
            // The list of jobs may not know yet that another node has completed the output. The coordinator tells it.
            isComplete = setup.Output(() => !JobFolder.IsOfCluster(setup.Folder) && setup.Folder.Exists(OutputNames.Success));
            if (!isComplete)
            {
                Probe();
            }
        }
        catch (StellaBulkException e)
        {
            throw Unfit(e);
        }

        return await grain.OpenAsync(node, request).WaitAsync(cancellationToken).ConfigureAwait(false) switch
        {
            null => !isComplete,
            "" => false,
            string refusal => throw new UnfitException(refusal, LongPause),
        };
    }

    /// <summary>Writes into the output folder, so that a folder that is read-only or full is known before anything is computed.</summary>
    private void Probe() => setup.Output(() =>
    {
        if (!JobFolder.IsOfCluster(setup.Folder))
        {
            throw new UnfitException(
                $"This machine has no folder '{setup.Folder.Path}/{OutputNames.ClusterFolder}'. Give the node the shared folder, or submit the job again.", ShortPause);
        }

        using ITemporaryFile file = setup.Folder.CreateTemporary();
        file.Content.Write(new byte[ProbeBytes]);
        file.Flush();
    });

    private async Task WorkAsync(CancellationToken stop)
    {
        long idleSince = options.Clock.GetTimestamp();
        TimeSpan wait = WaitTime;
        while (true)
        {
            JobAnswer answer = next ?? (MustYield() ? Yielded : await AskAsync(stop).ConfigureAwait(false));
            next = null;
            if (answer.Kind != WorkKind.Wait)
            {
                (idleSince, wait) = (options.Clock.GetTimestamp(), WaitTime);
            }
            else if (hasOtherJobs() && options.Clock.GetElapsedTime(idleSince) > IdleTime)
            {
                return;
            }

            switch (answer.Kind)
            {
                case WorkKind.Part:
                    first = answer;
                    await MakePartsAsync(stop).ConfigureAwait(false);
                    break;
                case WorkKind.Plan:
                    await RunTaskAsync(answer.Kind, Plan, stop).ConfigureAwait(false);
                    break;
                case WorkKind.Complete:
                    await RunTaskAsync(answer.Kind, Complete, stop).ConfigureAwait(false);
                    break;
                case WorkKind.Wait:
                    await Task.Delay(wait, options.Clock, stop).ConfigureAwait(false);
                    wait = Longer(wait);
                    break;
                default:
                    return;
            }
        }
    }

    /// <summary>Asks for work. A coordinator that is away has none now, and what is in hand goes on.</summary>
    private async Task<JobAnswer> AskAsync(CancellationToken stop)
    {
        try
        {
            JobAnswer answer = await link.CallAsync(wantsWork: true, stop).ConfigureAwait(false);
            coordinatorAway.End();
            return answer;
        }
#pragma warning disable CA1031 // The coordinator may be away in any way.
        catch (Exception e) when (!stop.IsCancellationRequested)
#pragma warning restore CA1031
        {
            coordinatorAway.Begin(e);
            return new JobAnswer(WorkKind.Wait, null, null, IsRejection: false, []);
        }
    }

    /// <summary>Returns whether it is the turn of another job.</summary>
    private bool MustYield() => options.Clock.GetElapsedTime(start) > TurnTime && hasOtherJobs();

    private async Task MakePartsAsync(CancellationToken stop)
    {
        output ??= Open(Prepare(stop));
        tokensOfPart = 0;
        try
        {
            await new PartPipeline(setup, output, model!, embedder, this).RunAsync(stop).ConfigureAwait(false);
        }
        catch (StellaException e)
        {
            ClusterLog.ModelFailed(logger, e);
            if (!MayBeOfTexts(e))
            {
                throw new UnfitException($"The node cannot compute: {e.Message}", ShortPause, e);
            }

            // The part counts an attempt, and the next one may go well.
            if (++failures >= FailuresInRow)
            {
                throw new UnfitException($"The model failed {failures} times in a row: {e.Message}", ShortPause, e);
            }
        }
        finally
        {
            link.ReturnAll();
        }
    }

    private async Task RunTaskAsync(WorkKind kind, Func<CancellationToken, bool> run, CancellationToken stop)
    {
        link.Begin(kind);
        bool isDone = false;
        try
        {
            isDone = await Task.Run(() => run(stop), stop).ConfigureAwait(false);
            if (!isDone)
            {
                // A part is not visible here yet.
                await Task.Delay(ShortPause, options.Clock, stop).ConfigureAwait(false);
            }
        }
        finally
        {
            link.End(isDone);
        }
    }

    private bool Plan(CancellationToken stop)
    {
        output = Open(Prepare(stop));
        return true;
    }

    private bool Complete(CancellationToken stop)
    {
        PreparedJob prepared = Prepare(stop);
        output ??= Open(prepared);
        bool isComplete = setup.Output(() => output.TryComplete(cancellationToken: stop)) is not null;
        if (isComplete)
        {
            setup.Output(setup.Copies.Delete);
        }

        return isComplete;
    }

    private PreparedJob Prepare(CancellationToken stop) => setup.Prepare(model!, keepsCopies: true, _ => { }, stop);

    private JobOutput Open(PreparedJob prepared) => setup.OpenOutput(prepared.Manifest, model!);

    /// <summary>Renews the leases until the session ends. Ends it when the job has ended.</summary>
    private async Task RenewAsync(Func<Task> end, CancellationToken stop)
    {
        TimeSpan pause = options.Policy.RenewTime;
        while (true)
        {
            await Task.Delay(pause, options.Clock, stop).ConfigureAwait(false);
            pause = options.Policy.RenewTime;
            try
            {
                JobAnswer answer = await link.CallAsync(wantsWork: false, stop).ConfigureAwait(false);
                if (answer.Kind == WorkKind.Leave)
                {
                    await end().ConfigureAwait(false);
                }
                else if (answer.Kind == WorkKind.Open)
                {
                    _ = await grain.OpenAsync(node, request).WaitAsync(stop).ConfigureAwait(false);
                }
            }
#pragma warning disable CA1031 // The coordinator may be away in any way. The next renewal tries again.
            catch (Exception e) when (!stop.IsCancellationRequested)
#pragma warning restore CA1031
            {
                pause = RepeatTime;
                coordinatorAway.Begin(e);
            }
        }
    }

    /// <summary>Tells the coordinator of a fault that other nodes would find too.</summary>
    private async Task TellAsync(StellaBulkException error, CancellationToken cancellationToken)
    {
        if (error.Code is not (StellaBulkErrorCode.InputChanged or StellaBulkErrorCode.InputUnreadable or StellaBulkErrorCode.OutputDamaged or StellaBulkErrorCode.SettingsDiffer))
        {
            return;
        }

        link.Report(new FaultMessage(Guid.NewGuid(), error.Code.ToString(), error.Message));
        try
        {
            _ = await link.CallAsync(wantsWork: false, cancellationToken).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // The coordinator may be away in any way. The node tells it again when it leaves.
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
#pragma warning restore CA1031
        {
            coordinatorAway.Begin(e);
        }
    }

    /// <summary>Gives back what is left. If the coordinator is away, the leases end by themselves.</summary>
    private async Task LeaveAsync()
    {
        link.ReturnAll();
        using var limit = new CancellationTokenSource(ShortPause, options.Clock);
        try
        {
            _ = await link.CallAsync(wantsWork: false, limit.Token, isLeaving: true).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // The session ends in any case.
        catch (Exception e)
#pragma warning restore CA1031
        {
            coordinatorAway.Begin(e);
        }
    }

    /// <summary>Returns whether another node may fail at the same texts. Otherwise only this node fails now, and the texts count no attempt.</summary>
    private static bool MayBeOfTexts(StellaException error) =>
        error.Code is StellaErrorCode.Internal or StellaErrorCode.Panic or StellaErrorCode.ForwardFailed;

    private static TimeSpan Longer(TimeSpan wait) => wait * 2 < LongWaitTime ? wait * 2 : LongWaitTime;

    private static UnfitException Unfit(StellaBulkException error) => new(error.Message, ShortPause, error);

    private PartTask TaskOf(JobAnswer answer)
    {
        LeaseMessage lease = answer.Lease!.Value;
        _ = PartId.TryParse(lease.Part, out PartId part);
        string? claim = options.Safeguards.HasFlag(Safeguards.Epoch) ? answer.Claim : null;
        return new PartTask(part, claim, answer.IsRejection) { Epoch = lease.Epoch };
    }

    private static LeaseMessage LeaseOf(PartTask task) => new(task.Part.ToString(), task.Epoch);
}
