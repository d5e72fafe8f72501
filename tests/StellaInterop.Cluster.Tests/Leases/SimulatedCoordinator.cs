using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Tests.Commit;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Tests.Leases;

/// <summary>What a worker tells a coordinator, as a node does.</summary>
internal sealed record WorkerReport(
    string Node,
    string Machine,
    IReadOnlyList<LeaseId> Held,
    IReadOnlyList<(LeaseId Lease, long Errors)> Done,
    IReadOnlyList<(LeaseId Lease, bool IsAttempt)> Returned,
    bool WantsWork)
{
    /// <summary>The answer; <see langword="null"/> until it is there.</summary>
    public CoordinatorAnswer? Answer { get; set; }
}

/// <summary>The answer of a coordinator.</summary>
internal sealed record CoordinatorAnswer(LeaseAnswer Lease, IReadOnlyList<LeaseId> Lost, bool IsDone);

/// <summary>A process with a ledger. It takes one message after the other, as a grain does.</summary>
internal sealed class SimulatedCoordinator
{
    private readonly ClusterWorld world;
    private readonly Queue<Action<JobLedger>> messages = new();
    private readonly SimulatedProcess process;
    private bool isIdle;

    public SimulatedCoordinator(ClusterWorld world)
    {
        this.world = world;
        process = new SimulatedProcess(Run);
    }

    public bool IsDone => process.IsDone;

    public Exception? Error => process.Error;

    public void FillDisk() => process.IsDiskFull = true;

    /// <summary>Runs operations, until there is no message.</summary>
    public void Run(int steps)
    {
        process.Run(1);
        for (; steps > 1 && !IsDone && !isIdle; steps--)
        {
            process.Run(1);
        }
    }

    public void Kill() => process.Kill();

    public void Send(WorkerReport report) => messages.Enqueue(ledger => report.Answer = Answer(ledger, report));

    public void SendNodeEnded(string node) => messages.Enqueue(ledger =>
    {
        // The node may have got a lease after its end.
        world.CountAccidents();
        ledger.NodeEnded(node);
    });

    private void Run(Action<string> step)
    {
        IOutputFolder folder = world.Disk.Open(step);
        JobOutput output = world.OpenOutput(folder, model: 0);
        JobLedger ledger = Read();
        while (true)
        {
            isIdle = messages.Count == 0;
            step("wait");
            isIdle = false;
            ledger.Tick();
            if (messages.TryDequeue(out Action<JobLedger>? message))
            {
                message(ledger);
            }

            if (ledger.IsStale)
            {
                ledger = Read();
            }
        }

        JobLedger Read() => new(folder, output, world.Clock, world.Policy, world.Safeguards);
    }

    private static CoordinatorAnswer Answer(JobLedger ledger, WorkerReport report)
    {
        foreach ((LeaseId lease, long errors) in report.Done)
        {
            _ = ledger.Done(lease, errors);
        }

        foreach ((LeaseId lease, bool isAttempt) in report.Returned)
        {
            ledger.Return(report.Node, lease, isAttempt);
        }

        IReadOnlyList<LeaseId> lost = ledger.Renew(report.Node, report.Machine, report.Held);
        LeaseAnswer given = default;
        try
        {
            given = report.WantsWork ? ledger.Take(report.Node, report.Machine) : default;
        }
        catch (IOException)
        {
            // The disk is full. The worker asks again.
        }

        return new CoordinatorAnswer(given, lost, ledger.IsDone);
    }
}
