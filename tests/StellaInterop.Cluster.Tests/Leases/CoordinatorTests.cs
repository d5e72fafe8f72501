using StellaInterop.Bulk.Planning;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Tests.Leases;

/// <summary>Tests new coordinators, two at once, and full disks.</summary>
internal sealed class CoordinatorTests
{
    [Test]
    public void A_new_coordinator_knows_the_leases_and_the_done_parts()
    {
        var job = new LedgerJob(3, 2, 2, 2);
        JobLedger before = job.Open();
        LeaseId first = before.Take("a", "A").Lease!.Value;
        LeaseId second = before.Take("b", "B").Lease!.Value;
        Assert.That(job.Commit(first, errors: "{}\n{}\n"), Is.True);
        JobLedger ledger = job.Open();
        Assert.That((ledger.DoneRows, ledger.DoneTokens, ledger.ErrorCount, ledger.MissingCount), Is.EqualTo((3, 30, 2, 3)));
        Assert.That(ledger.Leases(), Is.EqualTo(new[] { (second, "b", 0) }));
        Assert.That(ledger.Renew("b", "B", [second]), Is.Empty);
        job.Expire(ledger);
        Assert.That(ledger.SuspectCount, Is.EqualTo(1), "a lease of an earlier coordinator ends too");
    }

    [Test]
    public void A_damaged_entry_is_the_lease_of_nobody()
    {
        var job = new LedgerJob(2, 2);
        job.Disk.Write("_cluster/00000000-0001.lease", "{\"no"u8.ToArray());
        JobLedger ledger = job.Open();
        Assert.That(ledger.Leases(), Is.EqualTo(new[] { (new LeaseId(new PartId(0), 1), "", 0) }));
        job.Expire(ledger);
        Assert.That(ledger.Take("a", "A").Lease, Is.EqualTo(new LeaseId(new PartId(0), 2)));
    }

    [Test]
    public void Of_two_coordinators_one_gives_an_epoch_and_the_other_knows()
    {
        var job = new LedgerJob(2, 2, 2, 2);
        (JobLedger first, JobLedger second) = (job.Open(), job.Open());
        Assert.That(first.Take("a", "A").Lease, Is.Not.Null);
        Assert.That((second.Take("b", "B").Lease, second.IsStale, first.IsStale), Is.EqualTo(((LeaseId?)null, true, false)));
        second = job.Open();
        Assert.That((second.Take("b", "B").Lease, second.IsStale), Is.EqualTo(((LeaseId?)new LeaseId(new PartId(1), 1), false)));
    }

    [Test]
    public void A_coordinator_that_does_not_know_of_a_halving_gives_nothing()
    {
        var job = new LedgerJob(2);
        JobLedger first = job.Open(LeasePolicy.Default with { ChunkAttempts = 1 });
        _ = first.Take("a", "A");
        (JobLedger second, JobLedger third) = (job.Open(), job.Open(LeasePolicy.Default with { ChunkAttempts = 1 }));
        first.NodeEnded("a");
        second.NodeEnded("a");
        Assert.That((second.Take("b", "B").Lease, second.IsStale), Is.EqualTo(((LeaseId?)null, true)));
        third.NodeEnded("a");
        Assert.That(third.IsStale, Is.True, "it would halve the part again");
        Assert.That(job.Open().Take("b", "B").Lease, Is.EqualTo(new LeaseId(new PartId(0, "0"), 1)));
    }

    [Test]
    public void A_part_that_the_other_coordinator_saw_done_is_found_at_the_end_of_its_lease()
    {
        var job = new LedgerJob(2);
        LeaseId lease = job.Open().Take("a", "A").Lease!.Value;
        JobLedger ledger = job.Open();
        Assert.That(job.Commit(lease, errors: "{}\n"), Is.True);
        job.Open().Done(lease, 1);
        ledger.NodeEnded("a");
        Assert.That((ledger.IsDone, ledger.ErrorCount, ledger.SuspectCount), Is.EqualTo((true, 1, 0)));
    }

    [Test]
    public void A_lease_on_a_full_disk_is_an_error_and_changes_nothing()
    {
        var job = new LedgerJob(2, 2);
        JobLedger ledger = job.Open();
        job.IsDiskFull = true;
        Assert.That(() => ledger.Take("a", "A"), Throws.InstanceOf<IOException>());
        Assert.That((ledger.Leases().Count(), ledger.MissingCount), Is.EqualTo((0, 2)));
        job.IsDiskFull = false;
        Assert.That(ledger.Take("a", "A").Lease, Is.EqualTo(new LeaseId(new PartId(0), 1)));
    }

    [Test]
    public void A_lease_that_ends_on_a_full_disk_ends_as_soon_as_there_is_room()
    {
        var job = new LedgerJob(2, 2);
        JobLedger ledger = job.Open();
        LeaseId lease = ledger.Take("a", "A").Lease!.Value;
        job.IsDiskFull = true;
        job.Expire(ledger);
        Assert.That((ledger.Leases().Count(), ledger.SuspectCount), Is.EqualTo((1, 0)), "nobody else may have the part yet");
        Assert.That(ledger.Renew("a", "A", [lease]), Is.EqualTo(new[] { lease }));
        Assert.That(ledger.Renew("a", "A", []), Is.Empty);
        job.IsDiskFull = false;
        ledger.Tick();
        Assert.That((ledger.Leases().Count(), ledger.SuspectCount), Is.EqualTo((0, 1)), "the reason is still the first one");
        Assert.That(job.Commit(lease), Is.False);
    }

    [Test]
    public void A_lease_that_was_given_back_on_a_full_disk_is_no_attempt_if_the_node_ends()
    {
        var job = new LedgerJob(2, 2);
        JobLedger ledger = job.Open();
        LeaseId lease = ledger.Take("a", "A").Lease!.Value;
        job.IsDiskFull = true;
        ledger.Return("a", lease, isAttempt: false);
        ledger.NodeEnded("a");
        job.IsDiskFull = false;
        ledger.Tick();
        Assert.That((ledger.Leases().Count(), ledger.SuspectCount), Is.EqualTo((0, 0)));
    }

    [Test]
    public void A_part_that_cannot_be_halved_on_a_full_disk_is_tried_again()
    {
        var job = new LedgerJob(2);
        JobLedger ledger = job.Open(LeasePolicy.Default with { ChunkAttempts = 1 });
        _ = ledger.Take("a", "A");
        // The mark of the lease is written, and then the disk is full.
        job.BeforeOperation = operation => job.IsDiskFull |= operation == "flush folder";
        ledger.NodeEnded("a");
        job.BeforeOperation = null;
        job.IsDiskFull = false;
        Assert.That(ledger.Take("b", "B").Lease, Is.EqualTo(new LeaseId(new PartId(0), 2)));
        ledger.NodeEnded("b");
        Assert.That(ledger.Take("c", "C").Lease, Is.EqualTo(new LeaseId(new PartId(0, "0"), 1)));
    }
}
