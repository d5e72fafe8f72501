using System.Text.Json;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Outputs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Jobs;

/// <summary>Decides everything about one job: which node may work, what it does next, and when the job has ended.</summary>
/// <remarks>
/// All that must last is in the output folder. A coordinator that is lost is replaced by a new one that reads the folder, and two at once do no
/// harm. I/O errors of the folder leave the methods; the state is then as before. Not thread-safe.
/// </remarks>
internal sealed class JobCoordinator : IDisposable
{
    private const string JobFile = OutputNames.ClusterFolder + "/job.json";

    /// <summary>The attempts to make the plan or to check the output, before the job fails.</summary>
    private const int TaskAttempts = 5;

    /// <summary>The times that one machine sees a fault before it is that of the job.</summary>
    private const int FaultsOfMachine = 3;

    private readonly IOutputFolder folder;
    private readonly TimeProvider clock;
    private readonly LeasePolicy policy;
    private readonly Safeguards safeguards;
    private readonly WorkMeter meter;
    private readonly Dictionary<(string Code, string Machine), int> faults = [];

    private PinnedJob? job;
    private JobOutput? output;
    private JobLedger? ledger;
    private long? maxErrors;
    private TaskInHand? task;
    private int taskAttempts;
    private string? lastFault;
    private bool hasLeftFolder;

    /// <param name="folder">The output folder, which the coordinator disposes.</param>
    /// <param name="clock">The clock, of which only differences count.</param>
    /// <param name="policy">The times and limits of leases.</param>
    /// <param name="safeguards">The safeguards; all but in tests.</param>
    public JobCoordinator(IOutputFolder folder, TimeProvider clock, LeasePolicy policy, Safeguards safeguards = Safeguards.All)
    {
        this.folder = folder;
        this.clock = clock;
        this.policy = policy;
        this.safeguards = safeguards;
        meter = new WorkMeter(clock);
        if (folder.Exists(JobFile))
        {
            Begin(ReadJob());
        }
    }

    /// <summary>Gets what the user wants; <see langword="null"/> until it is known.</summary>
    public JobWish? Wish { get; private set; }

    public JobPhase Phase { get; private set; }

    /// <summary>Gets why the job failed.</summary>
    public (StellaBulkErrorCode Code, string Message)? Failure { get; private set; }

    public void Dispose() => folder.Dispose();

    /// <summary>Introduces a node. The first one begins the job.</summary>
    /// <returns>Why the node is refused; <see langword="null"/> if it may work.</returns>
    /// <exception cref="StellaBulkException">The folder holds something else.</exception>
    public string? Open(NodeInfo node, JobRequest request)
    {
        if (Wish == JobWish.Cancel)
        {
            return "The job is cancelled.";
        }

        if (!JobFolder.IsOfCluster(folder))
        {
            return $"The machine of the coordinator has no folder '{folder.Path}/{OutputNames.ClusterFolder}'. Give every node the shared folder, or submit the job again.";
        }

        if (job is null)
        {
            JobOutput.CreateFolders(folder);
            string leases = $"{OutputNames.ClusterFolder}/{Guid.NewGuid():N}";
            folder.CreateFolder(leases);
            using ITemporaryFile file = folder.CreateTemporary();
            using (var writer = new Utf8JsonWriter(file.Content))
            {
                JsonSerializer.Serialize(writer, new PinnedJob(node.Level, node.Version, leases, request), JobJson.Default.PinnedJob);
            }

            file.Flush();
            _ = folder.TryPublish(file, JobFile);
            folder.FlushFolder(OutputNames.ClusterFolder);
            Begin(ReadJob());
        }

        maxErrors = request.MaxErrors;
        PinnedJob pinned = job!;
        string[] differences = safeguards.HasFlag(Safeguards.Fingerprint) ? [.. BulkPlan.Differences(request.Settings, pinned.Request.Settings)] : [];
        return differences.Length > 0 ? $"The output folder has a job with other settings: {string.Join("; ", differences)}."
            : node.Version != pinned.Version ? $"The job runs with version {pinned.Version} of the program, and this node has {node.Version}. Use one version for all nodes."
            : node.Level != pinned.Level ? $"The job has the bits of level {pinned.Level}, and this node computes with {node.Level}. Start the node with --level {pinned.Level}, if its processor has that level."
            : null;
    }

    /// <summary>Takes a report of a node, and gives it work.</summary>
    public JobAnswer Report(NodeReport report)
    {
        LeaseId[] held = [.. report.Held.Select(IdOf)];
        if (ledger is null)
        {
            Load();
        }

        foreach (DoneMessage done in report.Done)
        {
            if (ledger?.Done(IdOf(done.Lease), done.Errors) is { } part)
            {
                meter.Add(report.Node, part.Rows, done.Tokens, part.Tokens);
                lastFault = done.LastFault ?? lastFault;
            }
        }

        foreach (ReturnMessage returned in report.Returned)
        {
            ledger?.Return(report.Node, IdOf(returned.Lease), returned.IsAttempt);
        }

        IReadOnlyList<LeaseId> lost = ledger?.Renew(report.Node, report.Machine, held) ?? held;
        TakeTask(report);
        if (report.Fault is { } reported)
        {
            Consider(report.Machine, reported);
        }

        FailIfTooManyErrors();
        (WorkKind kind, LeaseAnswer lease) = Next(report);
        return new JobAnswer(
            kind,
            lease.Lease is { } id ? MessageOf(id) : null,
            lease.Claim,
            lease.IsRejection,
            [.. lost.Select(MessageOf)]);
    }

    /// <summary>Records what the user wants.</summary>
    /// <param name="wish">The wish; <see langword="null"/> for a job that is not in the list.</param>
    public void SetWish(JobWish? wish)
    {
        JobWish? before = Wish;
        Wish = wish ?? JobWish.Cancel;
        if (before == JobWish.Pause && Wish == JobWish.Run)
        {
            meter.Restart();
        }
    }

    /// <summary>Ends leases of nodes that are silent or gone. It is called about each second.</summary>
    /// <param name="hasEnded">Returns whether a node has ended, as far as is known.</param>
    public void Tick(Predicate<string> hasEnded)
    {
        if (ledger is not null)
        {
            foreach (string node in ledger.Leases().Select(lease => lease.Node).Distinct().Where(node => hasEnded(node)).ToArray())
            {
                ledger.NodeEnded(node);
            }

            ledger.Tick();
            if (ledger.IsStale)
            {
                ledger = null;
                Load();
            }
        }

        if (task is { } inHand && (hasEnded(inHand.Node) || clock.GetElapsedTime(inHand.Renewed) > policy.LeaseTime))
        {
            EndTask(isDone: false, isAttempt: true);
        }

        End();
    }

    /// <summary>Returns the state of the job.</summary>
    /// <param name="name">The name of the job.</param>
    public JobStatus GetStatus(string name)
    {
        (double rows, double tokens, double estimate) = meter.Speed();
        BulkPlan? plan = output?.Manifest.Plan;
        double total = plan?.Tokens ?? 0;
        return new JobStatus
        {
            Folder = name,
            Phase = HasEnded ? Phase : Wish == JobWish.Pause ? JobPhase.Paused : PhaseOfWork(),
            Message = Failure?.Message,
            FailureCode = Failure?.Code.ToString(),
            RowCount = plan?.RowCount ?? 0,
            DoneRowCount = ledger?.DoneRows ?? 0,
            ChunkCount = plan?.Chunks.Count ?? 0,
            MissingPartCount = ledger?.MissingCount ?? 0,
            DoneShare = ledger is null || total == 0 ? 0 : ledger.DoneTokens / total,
            ErrorCount = ledger?.ErrorCount ?? 0,
            RowsPerSecond = rows,
            TokensPerSecond = tokens,
            TimeLeft = ledger is not null && estimate > 0 ? TimeSpan.FromSeconds((total - ledger.DoneTokens) / estimate) : null,
            SuspectCount = ledger?.SuspectCount ?? 0,
            Nodes = meter.Nodes(ledger?.Leases().Select(lease => lease.Node) ?? []),
            Level = job?.Level,
        };
    }

    private JobPhase PhaseOfWork() => job is null ? JobPhase.Waiting
        : ledger is null ? JobPhase.Planning
        : ledger.IsDone ? JobPhase.Checking
        : JobPhase.Running;

    private (WorkKind Kind, LeaseAnswer Lease) Next(NodeReport report)
    {
        bool hasEnded = Phase is JobPhase.Complete or JobPhase.Failed or JobPhase.Cancelled;
        if (hasEnded || Wish == JobWish.Cancel)
        {
            return (WorkKind.Leave, default);
        }

        if (job is null)
        {
            return (WorkKind.Open, default);
        }

        if (Wish == JobWish.Pause)
        {
            return (WorkKind.Stop, default);
        }

        if (!report.WantsWork || Wish is null)
        {
            return (WorkKind.Wait, default);
        }

        if (ledger is not null && !ledger.IsDone)
        {
            LeaseAnswer answer = ledger.Take(report.Node, report.Machine);
            return (answer.Lease is null ? WorkKind.Wait : WorkKind.Part, answer);
        }

        if (task is not null || report.Held.Count > 0)
        {
            return (WorkKind.Wait, default);
        }

        task = new TaskInHand(ledger is null ? WorkKind.Plan : WorkKind.Complete, report.Node) { Renewed = clock.GetTimestamp() };
        return (task.Kind, default);
    }

    private void TakeTask(NodeReport report)
    {
        if (task is null || task.Node != report.Node)
        {
            return;
        }

        if (report.EndedTask is { } ended && ended.Kind == task.Kind)
        {
            EndTask(ended.IsDone, isAttempt: report.Fault is not null);
        }
        else if (report.Task == task.Kind)
        {
            task.Renewed = clock.GetTimestamp();
        }
        else if (clock.GetElapsedTime(task.Renewed) > policy.RenewTime)
        {
            // The node never heard of the task.
            task = null;
        }
    }

    private void EndTask(bool isDone, bool isAttempt)
    {
        WorkKind kind = task!.Kind;
        task = null;
        if (isAttempt && ++taskAttempts >= TaskAttempts)
        {
            Fail(StellaBulkErrorCode.OutputFailed, $"{(kind == WorkKind.Plan ? "Planning" : "The check of the output")} did not succeed on any node. The messages of the nodes have the reasons.");
        }
        else if (isDone && kind == WorkKind.Complete)
        {
            Phase = JobPhase.Complete;
        }
        else
        {
            // The plan is there now, or a part was deleted, or is not visible on every machine yet.
            ledger = null;
            Load();
        }
    }

    /// <summary>Deletes what a job that has ended leaves behind. What failed may go on, so it stays.</summary>
    private void End()
    {
        if (Wish == JobWish.Cancel && Phase is not (JobPhase.Complete or JobPhase.Failed))
        {
            Phase = JobPhase.Cancelled;
        }

        if (!hasLeftFolder && Phase is JobPhase.Complete or JobPhase.Cancelled)
        {
            // Without the folder no lease can commit any more.
            folder.DeleteFolder(OutputNames.ClusterFolder);
            hasLeftFolder = true;
        }
    }

    /// <summary>Gets whether nothing is left to do.</summary>
    public bool HasEnded => Phase == JobPhase.Failed || hasLeftFolder;

    /// <summary>
    /// Ends the job when a fault of inputs or output shows on two machines, or on one again and again. A single machine may see an old state of the
    /// shared folder, or another folder.
    /// </summary>
    private void Consider(string machine, FaultMessage reported)
    {
        int count = faults.GetValueOrDefault((reported.Code, machine)) + 1;
        faults[(reported.Code, machine)] = count;
        if (count >= FaultsOfMachine || faults.Keys.Any(other => other.Code == reported.Code && other.Machine != machine))
        {
            Fail(Enum.Parse<StellaBulkErrorCode>(reported.Code), reported.Message);
        }
    }

    private void FailIfTooManyErrors()
    {
        if (ledger?.ErrorCount > maxErrors)
        {
            Fail(
                StellaBulkErrorCode.TooManyErrors,
                $"{ledger.ErrorCount} rows are at fault, and the limit is {maxErrors}"
                + (lastFault is null ? ". " : $"; one of them is {lastFault} ")
                + $"The rows are in '{OutputNames.ErrorsFolder}' of the output folder. Mend the input and begin anew, or run again with a higher limit.");
        }
    }

    private void Fail(StellaBulkErrorCode code, string message)
    {
        Phase = JobPhase.Failed;
        Failure = (code, message);
    }

    private PinnedJob ReadJob()
    {
        try
        {
            using Stream content = folder.OpenRead(JobFile);
            return JsonSerializer.Deserialize(content, JobJson.Default.PinnedJob) ?? throw new JsonException("It is null.");
        }
        catch (JsonException e)
        {
            throw new StellaBulkException(
                StellaBulkErrorCode.OutputDamaged, $"The file '{JobFile}' in the output folder '{folder.Path}' is damaged. Delete it, and submit the job again.", e);
        }
    }

    private void Begin(PinnedJob pinned)
    {
        job = pinned;
        maxErrors = pinned.Request.MaxErrors;
        Load();
    }

    /// <summary>Reads the state of the job, once it has a plan.</summary>
    private void Load()
    {
        if (job is null || JobOutput.ReadManifest(folder) is not { } manifest)
        {
            return;
        }

        StellaBulkOptions options = job.Request.ToOptions();
        int[] dimensions = [.. job.Request.Settings.First(setting => setting.Key == JobSettings.Dimension).Value.Split(',').Select(int.Parse)];
        JobOutput.ThrowIfSettingsDiffer(folder, manifest, job.Request.Settings, safeguards);
        output = JobOutput.Open(folder, manifest, PartFormats.Of(options.Format).ExtensionsOf(new PartSchema(dimensions, options.VectorType)), safeguards);
        ledger = new JobLedger(folder, output, clock, policy, safeguards, job.Leases);
    }

    private static LeaseId IdOf(LeaseMessage message) =>
        PartId.TryParse(message.Part, out PartId part) ? new LeaseId(part, message.Epoch) : throw new ArgumentException($"'{message.Part}' is no part.");

    private static LeaseMessage MessageOf(LeaseId id) => new(id.Part.ToString(), id.Epoch);

    private sealed record TaskInHand(WorkKind Kind, string Node)
    {
        public long Renewed { get; set; }
    }
}
