namespace StellaInterop.Cluster.Jobs;

/// <summary>Specifies what the user wants of a job.</summary>
internal enum JobWish
{
    Run,
    Pause,
    Cancel,
}

/// <summary>Represents what the user wants of a job, which may change while it runs.</summary>
/// <param name="Wish">Whether it runs.</param>
/// <param name="MaxErrors">The rows at fault after which it fails; <see langword="null"/> for no limit.</param>
[GenerateSerializer, Immutable]
internal sealed record JobOrder([property: Id(0)] JobWish Wish, [property: Id(1)] long? MaxErrors);

/// <summary>Specifies the state of a job.</summary>
internal enum JobPhase
{
    /// <summary>No node works on the job yet.</summary>
    Waiting,

    /// <summary>A node reads the inputs and cuts them into chunks.</summary>
    Planning,

    /// <summary>Nodes make parts.</summary>
    Running,

    /// <summary>A node checks all parts.</summary>
    Checking,

    Paused,

    /// <summary>The output is complete.</summary>
    Complete,

    /// <summary>The job cannot go on. Its message says why.</summary>
    Failed,

    Cancelled,
}

/// <summary>Specifies what a node does next for a job.</summary>
internal enum WorkKind
{
    /// <summary>Ask again after a while.</summary>
    Wait,

    /// <summary>Make a part.</summary>
    Part,

    /// <summary>Read the inputs and make the plan.</summary>
    Plan,

    /// <summary>Check all parts and complete the output.</summary>
    Complete,

    /// <summary>Take nothing more, and finish what is in hand. The job is paused.</summary>
    Stop,

    /// <summary>Leave everything. The job has ended.</summary>
    Leave,

    /// <summary>Introduce yourself with <see cref="IJobGrain.OpenAsync"/> first.</summary>
    Open,
}

/// <summary>Represents a lease in a message.</summary>
/// <param name="Part">The part, as its id writes it.</param>
/// <param name="Epoch">The epoch.</param>
[GenerateSerializer, Immutable]
internal readonly record struct LeaseMessage([property: Id(0)] string Part, [property: Id(1)] int Epoch);

/// <summary>Represents a part that a node made.</summary>
/// <param name="Lease">The lease.</param>
/// <param name="Tokens">The tokens of its texts.</param>
/// <param name="Errors">Its rows at fault.</param>
/// <param name="LastFault">The last of them, for a message.</param>
[GenerateSerializer, Immutable]
internal sealed record DoneMessage(
    [property: Id(0)] LeaseMessage Lease, [property: Id(1)] long Tokens, [property: Id(2)] long Errors, [property: Id(3)] string? LastFault);

/// <summary>Represents a lease that a node gives back.</summary>
/// <param name="Lease">The lease.</param>
/// <param name="IsAttempt">Whether the model failed at the part.</param>
[GenerateSerializer, Immutable]
internal sealed record ReturnMessage([property: Id(0)] LeaseMessage Lease, [property: Id(1)] bool IsAttempt);

/// <summary>Represents a fault of the inputs or of the output that other nodes find too, unless it is that of one machine.</summary>
/// <param name="Id">The id of the message. One that comes twice counts once.</param>
/// <param name="Code">The <see cref="Bulk.StellaBulkErrorCode"/>, by name.</param>
/// <param name="Message">The message for people.</param>
[GenerateSerializer, Immutable]
internal sealed record FaultMessage([property: Id(0)] Guid Id, [property: Id(1)] string Code, [property: Id(2)] string Message);

/// <summary>Represents the end of planning or checking.</summary>
/// <param name="Kind">Which of the two.</param>
/// <param name="IsDone">Whether it succeeded; otherwise another node tries.</param>
[GenerateSerializer, Immutable]
internal sealed record TaskMessage([property: Id(0)] WorkKind Kind, [property: Id(1)] bool IsDone);

/// <summary>Represents what a node tells the coordinator of a job. A message that was lost is sent again, and twice is as good as once.</summary>
[GenerateSerializer, Immutable]
internal sealed record NodeReport
{
    /// <summary>Gets the id of the node, which is new with each start.</summary>
    [Id(0)]
    public required string Node { get; init; }

    [Id(1)]
    public required string Machine { get; init; }

    /// <summary>Gets the leases that the node works on.</summary>
    [Id(2)]
    public IReadOnlyList<LeaseMessage> Held { get; init; } = [];

    [Id(3)]
    public IReadOnlyList<DoneMessage> Done { get; init; } = [];

    [Id(4)]
    public IReadOnlyList<ReturnMessage> Returned { get; init; } = [];

    /// <summary>Gets the task in hand; <see cref="WorkKind.Wait"/> for none.</summary>
    [Id(5)]
    public WorkKind Task { get; init; }

    [Id(6)]
    public TaskMessage? EndedTask { get; init; }

    [Id(7)]
    public FaultMessage? Fault { get; init; }

    /// <summary>Gets whether the node wants work.</summary>
    [Id(8)]
    public bool WantsWork { get; init; }

    /// <summary>Gets whether the node leaves the job, so that a lease that it has not heard of is given back too.</summary>
    [Id(9)]
    public bool IsLeaving { get; init; }
}

/// <summary>Represents the answer of the coordinator.</summary>
/// <param name="Kind">What to do next.</param>
/// <param name="Lease">The lease of a part.</param>
/// <param name="Claim">The name of the file that ends the lease.</param>
/// <param name="IsRejection">Whether the rows of the part go to the rows at fault.</param>
/// <param name="Lost">The leases of the report that the node does not have any more.</param>
[GenerateSerializer, Immutable]
internal sealed record JobAnswer(
    [property: Id(0)] WorkKind Kind,
    [property: Id(1)] LeaseMessage? Lease,
    [property: Id(2)] string? Claim,
    [property: Id(3)] bool IsRejection,
    [property: Id(4)] IReadOnlyList<LeaseMessage> Lost);

/// <summary>Represents a node.</summary>
[GenerateSerializer, Immutable]
internal sealed record NodeInfo
{
    /// <summary>Gets the id, which is new with each start.</summary>
    [Id(0)]
    public required string Id { get; init; }

    /// <summary>Gets the name of the machine.</summary>
    [Id(1)]
    public required string Machine { get; init; }

    /// <summary>Gets the address for people, such as 10.0.0.5:11111.</summary>
    [Id(2)]
    public required string Address { get; init; }

    /// <summary>Gets the level of the processor.</summary>
    [Id(3)]
    public required string Level { get; init; }

    /// <summary>Gets the version of the program.</summary>
    [Id(4)]
    public required string Version { get; init; }

    /// <summary>Gets the name of the model.</summary>
    [Id(5)]
    public required string Model { get; init; }

    /// <summary>Gets why the node takes nothing of a job, by output folder.</summary>
    [Id(6)]
    public IReadOnlyDictionary<string, string> Refusals { get; init; } = new Dictionary<string, string>();
}

/// <summary>Represents a job that nodes may work on.</summary>
/// <param name="Folder">The output folder, which is the name of the job.</param>
/// <param name="Request">The job, as <see cref="JobRequest.ToJson"/> writes it.</param>
/// <param name="Wish">What the user wants of it.</param>
[GenerateSerializer, Immutable]
internal sealed record JobEntry([property: Id(0)] string Folder, [property: Id(1)] string Request, [property: Id(2)] JobWish Wish);

/// <summary>Represents a node at work on a job.</summary>
/// <param name="Node">The id of the node.</param>
/// <param name="Parts">The parts that it made.</param>
/// <param name="TokensPerSecond">Its speed in the last minute.</param>
/// <param name="Leases">The parts that it works on.</param>
[GenerateSerializer, Immutable]
internal sealed record NodeWork(
    [property: Id(0)] string Node, [property: Id(1)] int Parts, [property: Id(2)] double TokensPerSecond, [property: Id(3)] int Leases);

/// <summary>Represents the state of a job.</summary>
[GenerateSerializer, Immutable]
internal sealed record JobStatus
{
    [Id(0)]
    public required string Folder { get; init; }

    [Id(1)]
    public JobPhase Phase { get; init; }

    /// <summary>Gets why the job failed, or does not go on now.</summary>
    [Id(2)]
    public string? Message { get; init; }

    /// <summary>Gets the number of rows; 0 until they are counted.</summary>
    [Id(3)]
    public long RowCount { get; init; }

    [Id(4)]
    public long DoneRowCount { get; init; }

    /// <summary>Gets the number of chunks of the plan.</summary>
    [Id(5)]
    public int ChunkCount { get; init; }

    /// <summary>Gets the number of parts that are still to make. A chunk that was halved has several.</summary>
    [Id(6)]
    public int MissingPartCount { get; init; }

    /// <summary>Gets the done share of the estimated tokens, 0 to 1.</summary>
    [Id(7)]
    public double DoneShare { get; init; }

    [Id(8)]
    public long ErrorCount { get; init; }

    /// <summary>Gets the rows that all nodes embed in a second.</summary>
    [Id(9)]
    public double RowsPerSecond { get; init; }

    [Id(10)]
    public double TokensPerSecond { get; init; }

    /// <summary>Gets the time left; <see langword="null"/> if it is not known.</summary>
    [Id(11)]
    public TimeSpan? TimeLeft { get; init; }

    /// <summary>Gets the parts that may end their node, which are computed alone.</summary>
    [Id(12)]
    public int SuspectCount { get; init; }

    [Id(13)]
    public IReadOnlyList<NodeWork> Nodes { get; init; } = [];

    /// <summary>Gets the level of the processor that the job has; <see langword="null"/> before its first node.</summary>
    [Id(14)]
    public string? Level { get; init; }

    /// <summary>Gets the <see cref="Bulk.StellaBulkErrorCode"/> of a job that failed, by name.</summary>
    [Id(15)]
    public string? FailureCode { get; init; }

    public bool HasEnded => Phase is JobPhase.Complete or JobPhase.Failed or JobPhase.Cancelled;
}

/// <summary>Represents a node as the cluster sees it.</summary>
/// <param name="Info">The node.</param>
/// <param name="Silence">The time since it was heard of.</param>
[GenerateSerializer, Immutable]
internal sealed record NodeStatus([property: Id(0)] NodeInfo Info, [property: Id(1)] TimeSpan Silence);

/// <summary>Represents a job in the list of jobs.</summary>
/// <param name="Entry">The job.</param>
/// <param name="Status">Its last known state.</param>
/// <param name="Submitted">When it was submitted.</param>
/// <param name="Silence">The time since its coordinator was heard of; <see langword="null"/> if that never happened.</param>
[GenerateSerializer, Immutable]
internal sealed record ListedJob(
    [property: Id(0)] JobEntry Entry, [property: Id(1)] JobStatus Status, [property: Id(2)] DateTimeOffset Submitted, [property: Id(3)] TimeSpan? Silence);

/// <summary>Represents the state of a cluster.</summary>
[GenerateSerializer, Immutable]
internal sealed record ClusterStatus([property: Id(0)] IReadOnlyList<ListedJob> Jobs, [property: Id(1)] IReadOnlyList<NodeStatus> Nodes);
