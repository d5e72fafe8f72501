using StellaInterop.Bulk.Planning;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Tests.Leases;

internal sealed class SuspectTests
{
    /// <summary>The parts that a node gets if the third row of four ends each node: the part, and whether it is rejected.</summary>
    private static readonly string[] SearchForRow2 =
    [
        "00000000", "00000000", "00000000", "00000000.0", "00000000.1", "00000000.10", "00000000.10", "00000000.10", "00000000.10 rejected", "00000000.11",
    ];

    [Test]
    public void A_suspect_gets_a_node_that_has_no_other_part()
    {
        JobLedger ledger = new LedgerJob(2, 2, 2, 2, 2, 2).Open();
        LeaseId other = Take(ledger, "a", "A")!.Value;
        _ = Take(ledger, "b", "B");
        ledger.NodeEnded("b");
        Assert.That(Take(ledger, "a", "A"), Is.Null, "the node has a part");
        ledger.Done(other, 0);
        Assert.That(Take(ledger, "a", "A"), Is.EqualTo(new LeaseId(new PartId(1), 2)));
        Assert.That(Take(ledger, "a", "A"), Is.Null, "the node is for the suspect alone");
    }

    [Test]
    public void Only_as_many_nodes_as_there_are_suspects_end_their_other_parts()
    {
        JobLedger ledger = new LedgerJob(2, 2, 2, 2, 2, 2, 2, 2).Open();
        _ = Take(ledger, "a", "A");
        _ = Take(ledger, "b", "B");
        _ = Take(ledger, "c", "C");
        ledger.NodeEnded("c");
        Assert.That(Take(ledger, "a", "A"), Is.Null);
        Assert.That(Take(ledger, "b", "B"), Is.EqualTo(new LeaseId(new PartId(3), 1)));
        Assert.That(Take(ledger, "d", "D"), Is.EqualTo(new LeaseId(new PartId(2), 2)), "a node without parts takes the suspect");
        Assert.That(Take(ledger, "a", "A"), Is.EqualTo(new LeaseId(new PartId(4), 1)), "no suspect is left");
    }

    [Test]
    public void A_suspect_goes_to_another_machine_first()
    {
        JobLedger ledger = new LedgerJob(2, 2, 2, 2, 2, 2).Open();
        _ = ledger.Renew("b", "B", []);
        _ = Take(ledger, "a1", "A");
        ledger.NodeEnded("a1");
        Assert.That(Take(ledger, "a2", "A"), Is.EqualTo(new LeaseId(new PartId(1), 1)), "another machine asks for parts");
        Assert.That(Take(ledger, "b", "B"), Is.EqualTo(new LeaseId(new PartId(0), 2)));
    }

    [Test]
    public void A_suspect_goes_to_the_same_machine_if_there_is_no_other()
    {
        var job = new LedgerJob(2, 2, 2);
        JobLedger ledger = job.Open();
        _ = ledger.Renew("b", "B", []);
        _ = Take(ledger, "a1", "A");
        ledger.NodeEnded("a1");
        job.Expire(ledger, renew: () => ledger.Renew("a2", "A", []));
        Assert.That(Take(ledger, "a2", "A"), Is.EqualTo(new LeaseId(new PartId(0), 2)), "b is silent");
    }

    [Test]
    public void A_part_is_halved_after_its_attempts_until_a_row_is_rejected()
    {
        var job = new LedgerJob(4);
        JobLedger ledger = job.Open();
        Assert.That(Search(job, () => ledger), Is.EqualTo(SearchForRow2));
        Assert.That(ledger.IsDone, Is.True);
        Assert.That(job.Parts, Is.EqualTo(new[] { "00000000.0", "00000000.10", "00000000.11" }));
    }

    [Test]
    public void A_new_coordinator_goes_on_with_the_search()
    {
        var job = new LedgerJob(4);
        Assert.That(Search(job, () => job.Open()), Is.EqualTo(SearchForRow2));
    }

    [Test]
    public void A_coordinator_may_end_before_any_operation()
    {
        for (int operations = 1, count = operations; count <= operations; operations++)
        {
            var job = new LedgerJob(4);
            count = 0;
            int limit = operations;
            job.BeforeOperation = operation =>
            {
                if (++count == limit)
                {
                    throw new CoordinatorKilled();
                }
            };
            string[] given = Search(job, () => job.Open());
            Assert.That(given, Does.Contain("00000000.10 rejected"), $"{operations} operations");
            Assert.That(given.Where(part => part.EndsWith("rejected", StringComparison.Ordinal)).Distinct(), Has.One.Items, $"{operations} operations");
            Assert.That(job.Parts, Is.EqualTo(new[] { "00000000.0", "00000000.10", "00000000.11" }), $"{operations} operations");
        }
    }

    [Test]
    public void Without_the_count_of_attempts_nothing_is_halved()
    {
        var job = new LedgerJob(4);
        JobLedger ledger = job.Open(safeguards: Bulk.Commit.Safeguards.All & ~Bulk.Commit.Safeguards.AttemptCount);
        Assert.That(Search(job, () => ledger), Is.All.EqualTo("00000000"));
    }

    /// <summary>Makes all parts with nodes of one machine, each of which the third row ends.</summary>
    /// <returns>The parts that were given.</returns>
    private static string[] Search(LedgerJob job, Func<JobLedger> open)
    {
        const int mostSteps = 50;
        var given = new List<string>();
        for (int step = 0; step < mostSteps; step++)
        {
            try
            {
                string node = $"node{step}";
                JobLedger ledger = open();
                if (ledger.IsDone)
                {
                    break;
                }

                if (ledger.Take(node, "A") is not { Lease: { } lease } answer)
                {
                    // The lease of an earlier coordinator.
                    Array.ForEach([.. ledger.Leases()], held => ledger.NodeEnded(held.Node));
                    continue;
                }

                given.Add(lease.Part + (answer.IsRejection ? " rejected" : ""));
                (long begin, long count) = lease.Part.RowsOf(4);
                if (begin <= 2 && begin + count > 2 && !answer.IsRejection)
                {
                    open().NodeEnded(node);
                }
                else if (job.Commit(lease, answer.IsRejection ? "{}\n" : null))
                {
                    open().Done(lease, 0);
                }
            }
            catch (CoordinatorKilled)
            {
                // The next one goes on. The node, or its commit, may have ended too.
            }
        }

        return [.. given];
    }

    private static LeaseId? Take(JobLedger ledger, string node, string machine) => ledger.Take(node, machine).Lease;

    private sealed class CoordinatorKilled : Exception;
}
