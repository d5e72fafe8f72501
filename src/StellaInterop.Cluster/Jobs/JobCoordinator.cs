using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
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
/// harm. I/O errors of the folder leave the methods, and the next call goes on from the folder. Not thread-safe.
/// </remarks>
internal sealed class JobCoordinator : IDisposable
{
    /// <summary>The attempts to make the plan or to check the output, before the job fails.</summary>
    private const int TaskAttempts = 5;

    /// <summary>The times that one machine sees a fault before it is that of the job.</summary>
    private const int FaultsOfMachine = 3;

    private readonly IOutputFolder folder;
    private readonly TimeProvider clock;
    private readonly LeasePolicy policy;
    private readonly Safeguards safeguards;
    private readonly WorkMeter meter;
    private readonly Dictionary<(string Code, string Machine), HashSet<Guid>> faults = [];

    /// <summary>When each machine last reported.</summary>
    private readonly Dictionary<string, long> machines = new(StringComparer.Ordinal);

    private PinnedJob? job;
    private PinnedBits? bits;
    private JobOutput? output;
    private JobLedger? ledger;
    private JobOrder? order;
    private bool isListed = true;
    private TaskInHand? task;
    private int taskAttempts;
    private long lastTick;
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
        lastTick = clock.GetTimestamp();
        if (folder.Exists(JobFolder.JobFile) && folder.Exists(OutputNames.Bits))
        {
            job = Read(JobFolder.JobFile, JobJson.Default.PinnedJob);
            bits = Read(OutputNames.Bits, JobJson.Default.PinnedBits);
            Load();
        }
    }

    public JobPhase Phase { get; private set; }

    /// <summary>Gets whether the folder of the job is not there, so that a coordinator on another machine may know more.</summary>
    public bool LacksFolder { get; private set; }

    /// <summary>Gets why the job failed.</summary>
    public (StellaBulkErrorCode Code, string Message)? Failure { get; private set; }

    public void Dispose() => folder.Dispose();

    /// <summary>Introduces a node. The first one begins the job.</summary>
    /// <returns>Why the node is refused; <see langword="null"/> if it may work.</returns>
    /// <exception cref="StellaBulkException">The folder holds something else.</exception>
    public string? Open(NodeInfo node, JobRequest request)
    {
        if (order?.Wish == JobWish.Cancel)
        {
            return "The job is cancelled.";
        }

        string[] found = [.. folder.List("")];
        LacksFolder = !found.Contains(OutputNames.ClusterFolder);
        if (LacksFolder)
        {
            if (!found.Contains(OutputNames.Success))
            {
                return $"The machine of the coordinator has no folder '{folder.Path}/{OutputNames.ClusterFolder}'. Give every node the shared folder, or submit the job again.";
            }

            // The coordinator that completed the job ended before it could tell.
            (Phase, hasLeftFolder, LacksFolder) = (JobPhase.Complete, true, false);
            return "";
        }

        if (job is null)
        {
            OutputOwner.CreateFolders(folder);
            string leases = $"{OutputNames.ClusterFolder}/{Guid.NewGuid():N}";
            folder.CreateFolder(leases);
            bits = Pin(OutputNames.Bits, new PinnedBits(node.Level, node.Version), JobJson.Default.PinnedBits);
            job = Pin(JobFolder.JobFile, new PinnedJob(leases, request), JobJson.Default.PinnedJob);
            Load();
        }

        string[] differences = safeguards.HasFlag(Safeguards.Fingerprint) ? [.. BulkPlan.Differences(request.Settings, job.Request.Settings)] : [];
        return differences.Length > 0 ? $"The output folder has a job with other settings: {string.Join("; ", differences)}."
            : node.Version != bits!.Version ? $"The job runs with version {bits.Version} of the program, and this node has {node.Version}. Use one version for all nodes."
            : node.Level != bits.Level ? $"The job has the bits of level {bits.Level}, and this node computes with {node.Level}. Start the node with --level {bits.Level}, if its processor has that level."
            : null;
    }

    /// <summary>Takes a report of a node, and gives it work.</summary>
    public JobAnswer Report(NodeReport report)
    {
        LeaseId[] held = [.. report.Held.Select(IdOf)];
        machines[report.Machine] = clock.GetTimestamp();
        if (ledger is null && task is null)
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
        if (report.IsLeaving)
        {
            ledger?.NodeLeft(report.Node);
        }

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
    /// <param name="wanted">
    /// The wish of the user; <see langword="null"/> for a job that is not in the list, or has ended there. Its nodes leave it, and its folder stays as it is.
    /// </param>
    public void SetOrder(JobOrder? wanted)
    {
        isListed = wanted is not null;
        if (order?.Wish == JobWish.Pause && wanted?.Wish == JobWish.Run)
        {
            meter.Restart();
        }

        order = wanted ?? order;
    }

    /// <summary>Goes on with a job although the list of jobs is away, if what the user wants is not known yet.</summary>
    public void AssumeOrder() => order ??= new JobOrder(JobWish.Run, MaxErrors: null);

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

        long now = clock.GetTimestamp();
        if (task is not null && clock.GetElapsedTime(lastTick, now) > policy.RenewTime)
        {
            // This process was stopped, and heard no renewals meanwhile.
            task.Renewed = now;
        }

        lastTick = now;
        if (task is { } inHand && (hasEnded(inHand.Node) || clock.GetElapsedTime(inHand.Renewed, now) > policy.LeaseTime))
        {
            EndTask(isDone: false, isAttempt: true);
        }

        End();
    }

    /// <summary>Returns the state of the job.</summary>
    /// <param name="name">The name of the job.</param>
    /// <param name="trouble">Why the job does not go on now; <see langword="null"/> if it does.</param>
    public JobStatus GetStatus(string name, string? trouble = null)
    {
        (double rows, double tokens, double estimate) = meter.Speed();
        BulkPlan? plan = output?.Manifest.Plan;
        double total = plan?.Tokens ?? 0;
        return new JobStatus
        {
            Folder = name,
            Phase = HasEnded ? Phase : order?.Wish == JobWish.Pause ? JobPhase.Paused : PhaseOfWork(),
            Message = Failure?.Message ?? trouble,
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
            Level = bits?.Level,
        };
    }

    private JobPhase PhaseOfWork() => job is null ? JobPhase.Waiting
        : ledger is null ? JobPhase.Planning
        : ledger.IsDone ? JobPhase.Checking
        : JobPhase.Running;

    private (WorkKind Kind, LeaseAnswer Lease) Next(NodeReport report)
    {
        if (!isListed || order?.Wish == JobWish.Cancel || Phase is JobPhase.Complete or JobPhase.Failed or JobPhase.Cancelled)
        {
            return (WorkKind.Leave, default);
        }

        if (job is null)
        {
            return (WorkKind.Open, default);
        }

        if (order?.Wish == JobWish.Pause)
        {
            return (WorkKind.Stop, default);
        }

        if (!report.WantsWork || order is null)
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
        else if (report.IsLeaving || clock.GetElapsedTime(task.Renewed) > policy.RenewTime)
        {
            // The node never heard of the task.
            task = null;
        }
    }

    private void EndTask(bool isDone, bool isAttempt)
    {
        WorkKind kind = task!.Kind;
        task = null;
        if (isDone)
        {
            taskAttempts = 0;
        }

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

    /// <summary>Deletes what a job that has ended leaves behind. A failed job may go on, so its folder stays.</summary>
    private void End()
    {
        if (order?.Wish == JobWish.Cancel && Phase is not (JobPhase.Complete or JobPhase.Failed))
        {
            Phase = JobPhase.Cancelled;
        }

        if (!hasLeftFolder && Phase is JobPhase.Complete or JobPhase.Cancelled)
        {
            // Without the folder no lease can commit any more.
            folder.DeleteFolder(OutputNames.ClusterFolder);
            if (output is null || output.ReadCommitted().Parts.Count == 0)
            {
                // The next nodes may have another level.
                folder.Delete(OutputNames.Bits);
            }

            hasLeftFolder = true;
        }
    }

    /// <summary>Gets whether nothing is left to do.</summary>
    public bool HasEnded => Phase == JobPhase.Failed || hasLeftFolder;

    /// <summary>
    /// Ends the job when a fault of inputs or output shows on two machines, or again and again on the only one that works. A single machine may see an
    /// old state of the shared folder, or another folder.
    /// </summary>
    private void Consider(string machine, FaultMessage reported)
    {
        if (!faults.TryGetValue((reported.Code, machine), out HashSet<Guid>? seen))
        {
            faults[(reported.Code, machine)] = seen = [];
        }

        seen.Add(reported.Id);
        bool isAlone = machines.All(other => other.Key == machine || clock.GetElapsedTime(other.Value) > policy.LeaseTime);
        if ((isAlone && seen.Count >= FaultsOfMachine) || faults.Keys.Any(other => other.Code == reported.Code && other.Machine != machine))
        {
            Fail(Enum.Parse<StellaBulkErrorCode>(reported.Code), reported.Message);
        }
    }

    private void FailIfTooManyErrors()
    {
        if (ledger?.ErrorCount > order?.MaxErrors)
        {
            Fail(
                StellaBulkErrorCode.TooManyErrors,
                $"{ledger.ErrorCount} rows are at fault, and the limit is {order.MaxErrors}"
                + (lastFault is null ? ". " : $"; one of them is {lastFault} ")
                + $"The rows are in '{OutputNames.ErrorsFolder}' of the output folder. Mend the input and begin anew, or run again with a higher limit.");
        }
    }

    private void Fail(StellaBulkErrorCode code, string message)
    {
        Phase = JobPhase.Failed;
        Failure = (code, message);
    }

    /// <summary>Writes a file that is there once, and returns what it has.</summary>
    private T Pin<T>(string name, T value, JsonTypeInfo<T> type)
    {
        using ITemporaryFile file = folder.CreateTemporary();
        using (var writer = new Utf8JsonWriter(file.Content))
        {
            JsonSerializer.Serialize(writer, value, type);
        }

        file.Flush();
        _ = folder.TryPublish(file, name);
        folder.FlushFolder(name[..name.LastIndexOf('/')]);
        return Read(name, type);
    }

    private T Read<T>(string name, JsonTypeInfo<T> type)
    {
        try
        {
            using Stream content = folder.OpenRead(name);
            return JsonSerializer.Deserialize(content, type) ?? throw new JsonException("It is null.");
        }
        catch (JsonException e)
        {
            throw new StellaBulkException(
                StellaBulkErrorCode.OutputDamaged, $"The file '{name}' in the output folder '{folder.Path}' is damaged. Delete it, and submit the job again.", e);
        }
    }

    /// <summary>Reads the state of the job, once it has a plan.</summary>
    private void Load()
    {
        if (job is null || OutputOwner.ReadManifest(folder) is not { } manifest)
        {
            return;
        }

        StellaBulkOptions options = job.Request.ToOptions();
        int[] dimensions = [.. job.Request.Settings.First(setting => setting.Key == JobSettings.Dimension).Value.Split(',').Select(int.Parse)];
        OutputOwner.ThrowIfSettingsDiffer(folder, manifest, job.Request.Settings, safeguards);
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
