using Microsoft.Extensions.Time.Testing;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Tests.Leases;

/// <summary>A job in memory whose parts the tests write themselves.</summary>
internal sealed class LedgerJob
{
    private static readonly string[] Extensions = [".part"];

    /// <summary>Begins a job.</summary>
    /// <param name="chunkRows">The number of rows of each chunk.</param>
    public LedgerJob(params int[] chunkRows)
    {
        Folder = Disk.Open(operation =>
        {
            BeforeOperation?.Invoke(operation);
            if (IsDiskFull && operation == "write")
            {
                throw new IOException("No space left on device", OutputErrors.NoSpace);
            }
        });
        Plan = new BulkPlan(
            [], [new PlannedFile("input.rows", 1, "00", chunkRows.Sum())], [.. chunkRows.Select(rows => new Chunk(0, default, rows, 10 * rows, 0))]);
        Output = OpenOutput();
        Folder.CreateFolder(OutputNames.ClusterFolder);
        Log = new LeaseLog(Folder, Output);
    }

    public MemoryDisk Disk { get; } = new();

    public IOutputFolder Folder { get; }

    public BulkPlan Plan { get; }

    public JobOutput Output { get; }

    public LeaseLog Log { get; }

    public FakeTimeProvider Clock { get; } = new();

    public bool IsDiskFull { get; set; }

    /// <summary>Is called before each operation of the folder.</summary>
    public Action<string>? BeforeOperation { get; set; }

    /// <summary>The parts that are there.</summary>
    public IEnumerable<string> Parts => Output.ReadCommitted().Parts.Select(part => part.ToString());

    /// <summary>Reads the state of the job, as a new coordinator does.</summary>
    public JobLedger Open(LeasePolicy? policy = null, Safeguards safeguards = Safeguards.All, string leases = OutputNames.ClusterFolder) =>
        new(Folder, OpenOutput(), Clock, policy ?? LeasePolicy.Default, safeguards, leases);

    /// <summary>Writes a part as a node does.</summary>
    /// <returns>Whether the lease was still that of the node.</returns>
    public bool Commit(LeaseId lease, string? errors = null, string leases = OutputNames.ClusterFolder)
    {
        using PartInHand part = Output.Begin(lease.Part);
        part.Files[0].Content.Write(errors is null ? "all vectors"u8 : "vectors of the other rows"u8);
        if (errors is not null)
        {
            part.OpenErrors().Write(System.Text.Encoding.UTF8.GetBytes(errors));
        }

        return Output.Commit(part, default, LeaseLog.ClaimOf(lease.Part, lease.Epoch, leases));
    }

    /// <summary>Writes a part without rows at fault as a job of one process does.</summary>
    public bool CommitWithoutLease(PartId id)
    {
        using PartInHand part = Output.Begin(id);
        part.Files[0].Content.Write("all vectors"u8);
        return Output.Commit(part, default);
    }

    /// <summary>Lets all leases expire that are not renewed.</summary>
    public void Expire(JobLedger ledger, Action? renew = null)
    {
        for (TimeSpan time = TimeSpan.Zero; time <= LeasePolicy.Default.LeaseTime; time += LeasePolicy.Default.RenewTime)
        {
            Clock.Advance(LeasePolicy.Default.RenewTime);
            renew?.Invoke();
            ledger.Tick();
        }
    }

    private JobOutput OpenOutput() => JobOutput.Open(Folder, new JobManifest(Plan, [new FileStamp(1, 2, 3)]), Extensions);
}
