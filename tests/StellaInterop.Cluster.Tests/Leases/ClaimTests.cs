using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Planning;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Tests.Leases;

/// <summary>Tests the commit of a part by a node whose lease ends in the middle of it.</summary>
internal sealed class ClaimTests
{
    private static readonly LeasePolicy HalveAtOnce = LeasePolicy.Default with { ChunkAttempts = 1 };

    [Test]
    public void A_late_writer_cannot_commit()
    {
        var job = new LedgerJob(2);
        JobLedger ledger = job.Open();
        LeaseId late = ledger.Take("a", "A").Lease!.Value;
        ledger.NodeEnded("a");
        Assert.That(job.Commit(late), Is.False);
        LeaseId next = ledger.Take("b", "B").Lease!.Value;
        Assert.That(job.Commit(late), Is.False);
        Assert.That(job.Parts, Is.Empty);
        Assert.That(job.Commit(next), Is.True);
        ledger.Done(next, 0);
        Assert.That(job.Commit(late), Is.False, "the mark is deleted and the part is there");
        Assert.That(job.Parts, Is.EqualTo(new[] { "00000000" }));
    }

    [Test]
    public void A_late_writer_of_a_part_that_was_halved_cannot_commit()
    {
        var job = new LedgerJob(2);
        JobLedger ledger = job.Open(HalveAtOnce);
        LeaseId late = ledger.Take("a", "A").Lease!.Value;
        ledger.NodeEnded("a");
        for (int half = 0; half < 2; half++)
        {
            Assert.That(job.Commit(late, errors: "{}\n"), Is.False);
            LeaseId lease = ledger.Take("b", "B").Lease!.Value;
            Assert.That(job.Commit(lease, errors: "{}\n"), Is.True);
            ledger.Done(lease, 1);
        }

        Assert.That(job.Open().IsDone, Is.True, "a new coordinator");
        Assert.That(job.Commit(late, errors: "{}\n"), Is.False);
        Assert.That(job.Parts, Is.EqualTo(new[] { "00000000.0", "00000000.1" }));
        Assert.That(Errors(job), Has.Length.EqualTo(2));
        Assert.That(job.Output.TryComplete(), Has.Count.EqualTo(2));
    }

    [Test]
    public void A_node_that_slept_while_its_job_was_cancelled_and_submitted_again_cannot_commit()
    {
        const string First = OutputNames.ClusterFolder + "/first";
        const string Second = OutputNames.ClusterFolder + "/second";
        var job = new LedgerJob(2);
        job.Folder.CreateFolder(First);
        LeaseId late = job.Open(HalveAtOnce, leases: First).Take("a", "A").Lease!.Value;
        job.Folder.DeleteFolder(OutputNames.ClusterFolder);
        job.Folder.CreateFolder(OutputNames.ClusterFolder);
        job.Folder.CreateFolder(Second);
        JobLedger ledger = job.Open(HalveAtOnce, leases: Second);
        _ = ledger.Take("b", "B");
        ledger.NodeEnded("b");
        for (int half = 0; half < 2; half++)
        {
            LeaseId lease = ledger.Take("b", "B").Lease!.Value;
            Assert.That(job.Commit(lease, leases: Second), Is.True);
            ledger.Done(lease, 0);
        }

        Assert.That(() => job.Commit(late, leases: First), Throws.InstanceOf<IOException>());
        Assert.That(job.Parts, Is.EqualTo(new[] { "00000000.0", "00000000.1" }));
    }

    [Test]
    public void A_part_may_come_while_another_coordinator_halves_it()
    {
        var job = new LedgerJob(2);
        JobLedger ledger = job.Open();
        _ = ledger.Take("a", "A");
        JobLedger halving = job.Open(HalveAtOnce);
        ledger.NodeEnded("a");
        int published = 0;
        Assert.That(RunUntil(job, IsHalving, () => halving.NodeEnded("a"), Commit), Is.True);
        Assert.That((halving.IsStale, job.Open().IsDone), Is.EqualTo((true, true)));
        Assert.That(job.Output.TryComplete(), Has.Count.EqualTo(1));

        // First it finds the mark of the other coordinator.
        bool IsHalving(string operation) => operation == "publish" && ++published == 2;

        void Commit()
        {
            LeaseId lease = ledger.Take("b", "B").Lease!.Value;
            Assert.That(job.Commit(lease), Is.True);
            ledger.Done(lease, 0);
        }
    }

    [Test]
    public void A_lease_may_end_before_any_operation_of_the_commit()
    {
        var outcomes = new List<bool>();
        ForEachOperation((job, atOperation) =>
        {
            JobLedger ledger = job.Open(HalveAtOnce);
            LeaseId lease = ledger.Take("a", "A").Lease!.Value;
            bool hasEnded = RunUntil(job, atOperation, () => job.Commit(lease, errors: "{}\n{}\n"), () => ledger.NodeEnded("a"));
            ledger.NodeEnded("a");
            outcomes.Add(job.Parts.Any());
            AssertOneOutcome(job, ledger);
            return hasEnded;
        });
        Assert.That(outcomes, Is.Ordered.And.Contain(false).And.Contain(true));
    }

    [Test]
    public void A_writer_may_end_before_any_operation_of_its_commit([Values] bool isNewCoordinator)
    {
        var outcomes = new List<bool>();
        ForEachOperation((job, atOperation) =>
        {
            JobLedger ledger = job.Open(HalveAtOnce);
            LeaseId lease = ledger.Take("a", "A").Lease!.Value;
            bool hasEnded = RunUntil(job, atOperation, () => job.Commit(lease, errors: "{}\n{}\n"), () => throw new WriterKilled());
            ledger = isNewCoordinator ? job.Open(HalveAtOnce) : ledger;
            ledger.NodeEnded("a");
            outcomes.Add(job.Parts.Any());
            AssertOneOutcome(job, ledger);
            return hasEnded;
        });
        Assert.That(outcomes, Is.Ordered.And.Contain(false).And.Contain(true));
    }

    [Test]
    public void A_claimed_part_is_that_of_the_writer_whoever_completes_it()
    {
        var job = new LedgerJob(1);
        JobLedger ledger = job.Open();
        LeaseId lost = ledger.Take("a", "A").Lease!.Value;
        // The first writer ends when its record and its rows at fault wait, and the second one when it has claimed the part.
        Assert.That(RunUntil(job, IsAfterRecord, () => job.Commit(lost, errors: "{}\n"), () => throw new WriterKilled()), Is.True);
        ledger.NodeEnded("a");
        LeaseId claimed = ledger.Take("b", "B").Lease!.Value;
        Assert.That(RunUntil(job, operation => operation == "rename", () => job.Commit(claimed), () => throw new WriterKilled()), Is.True);
        ledger.NodeEnded("b");
        Assert.That((ledger.IsDone, ledger.ErrorCount), Is.EqualTo((true, 0)));
        Assert.That(Errors(job), Is.Empty);
        Assert.That(job.Output.TryComplete(), Has.Count.EqualTo(1));

        bool IsAfterRecord(string operation) => operation == "flush folder" && job.Disk.Names.Any(name => name.StartsWith(OutputNames.RecordsFolder, StringComparison.Ordinal));
    }

    [Test]
    public void Rows_at_fault_of_a_run_without_leases_do_not_stay_beside_those_of_halves()
    {
        var job = new LedgerJob(2);
        job.Disk.Write(OutputNames.ErrorsOf(OutputNames.PartOf(job.Plan.ShortHash, new PartId(0))), "{}\n"u8.ToArray());
        JobLedger ledger = job.Open(HalveAtOnce);
        _ = ledger.Take("a", "A");
        ledger.NodeEnded("a");
        for (int half = 0; half < 2; half++)
        {
            LeaseId lease = ledger.Take("b", "B").Lease!.Value;
            Assert.That(job.Commit(lease, errors: half == 0 ? "{}\n" : null), Is.True);
            ledger.Done(lease, 0);
        }

        Assert.That(job.Output.TryComplete(), Has.Count.EqualTo(2));
        Assert.That(Errors(job), Is.EqualTo(new[] { OutputNames.ErrorsOf(OutputNames.PartOf(job.Plan.ShortHash, new PartId(0, "0"))) }));
    }

    [Test]
    public void Rows_at_fault_of_a_claim_that_went_with_its_job_do_not_stay_beside_the_part()
    {
        var job = new LedgerJob(1);
        LeaseId claimed = job.Open().Take("a", "A").Lease!.Value;
        Assert.That(RunUntil(job, IsNamed, () => job.Commit(claimed, errors: "{}\n"), () => throw new WriterKilled()), Is.True);
        Assert.That(Errors(job), Has.Length.EqualTo(1));
        job.Folder.DeleteFolder(OutputNames.ClusterFolder);
        Assert.That(job.CommitWithoutLease(claimed.Part), Is.True);
        Assert.That(Errors(job), Is.Empty);
        Assert.That(job.Output.TryComplete()?.Single().ErrorsHash, Is.Null);

        bool IsNamed(string operation) => operation == "rename" && Errors(job).Length > 0;
    }

    [Test]
    public void A_claimed_part_gets_no_name_while_its_record_is_not_visible()
    {
        var job = new LedgerJob(1);
        JobLedger ledger = job.Open();
        LeaseId claimed = ledger.Take("a", "A").Lease!.Value;
        Assert.That(RunUntil(job, operation => operation == "rename", () => job.Commit(claimed, errors: "{}\n"), () => throw new WriterKilled()), Is.True);
        string[] records = [.. job.Disk.Names.Where(name => name.StartsWith(OutputNames.RecordsFolder, StringComparison.Ordinal))];
        Dictionary<string, byte[]> hidden = records.ToDictionary(name => name, job.Disk.Read);
        foreach (string name in records)
        {
            job.Folder.Delete(name);
        }

        ledger.NodeEnded("a");
        Assert.That((ledger.Leases().Count(), job.Parts.Count(), Errors(job).Length), Is.EqualTo((1, 0, 0)));
        foreach ((string name, byte[] content) in hidden)
        {
            job.Disk.Write(name, content);
        }

        ledger.Tick();
        Assert.That((ledger.IsDone, ledger.ErrorCount, Errors(job).Length), Is.EqualTo((true, 1, 1)));
    }

    /// <summary>Either the part is there with its rows at fault, or it is halved and nothing of it is there.</summary>
    private static void AssertOneOutcome(LedgerJob job, JobLedger ledger)
    {
        bool isCommitted = job.Parts.Any();
        Assert.That(ledger.IsDone, Is.EqualTo(isCommitted));
        Assert.That(ledger.ErrorCount, Is.EqualTo(isCommitted ? 2 : 0));
        Assert.That(Errors(job), Has.Length.EqualTo(isCommitted ? 1 : 0));
        Assert.That(job.Output.TryComplete() is not null, Is.EqualTo(isCommitted));
        Assert.That(job.Open().MissingCount, Is.EqualTo(isCommitted ? 0 : 2));
    }

    private static string[] Errors(LedgerJob job) => [.. job.Disk.Names.Where(name => name.StartsWith(OutputNames.ErrorsFolder, StringComparison.Ordinal))];

    /// <summary>Runs a test with a new job for each operation, until one has fewer.</summary>
    private static void ForEachOperation(Func<LedgerJob, Func<string, bool>, bool> test)
    {
        bool hasOperation = true;
        for (int limit = 1; hasOperation; limit++)
        {
            int count = 0;
            int at = limit;
            hasOperation = test(new LedgerJob(2), _ => ++count == at);
        }
    }

    /// <summary>Runs a commit, and something else before one of its operations.</summary>
    /// <returns>Whether there was such an operation.</returns>
    private static bool RunUntil(LedgerJob job, Func<string, bool> isReached, Action commit, Action then)
    {
        bool wasReached = false;
        job.BeforeOperation = operation =>
        {
            if (isReached(operation))
            {
                wasReached = true;
                job.BeforeOperation = null;
                then();
            }
        };
        try
        {
            commit();
        }
        catch (WriterKilled)
        {
            // Its node has ended.
        }

        job.BeforeOperation = null;
        return wasReached;
    }

    private sealed class WriterKilled : Exception;
}
