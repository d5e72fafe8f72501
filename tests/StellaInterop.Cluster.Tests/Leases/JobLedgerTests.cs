using StellaInterop.Bulk.Planning;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Tests.Leases;

internal sealed class JobLedgerTests
{
    private static readonly TimeSpan Moment = TimeSpan.FromSeconds(1);

    [Test]
    public void Parts_are_given_in_their_order()
    {
        JobLedger ledger = new LedgerJob(2, 2, 2, 2, 2, 2).Open();
        LeaseId[] given = [.. new[] { "a", "b", "a", "b" }.Select(node => ledger.Take(node, node).Lease!.Value)];
        Assert.That(given, Is.EqualTo(Enumerable.Range(0, 4).Select(chunk => new LeaseId(new PartId(chunk), 1))));
        Assert.That(ledger.Leases().Select(lease => lease.Node), Is.EqualTo(new[] { "a", "b", "a", "b" }));
    }

    [Test]
    public void A_node_has_two_leases_at_most()
    {
        JobLedger ledger = new LedgerJob(2, 2, 2, 2).Open();
        LeaseId first = Take(ledger, "a")!.Value;
        Assert.That(Take(ledger, "a"), Is.Not.Null);
        Assert.That(Take(ledger, "a"), Is.Null);
        ledger.Done(first, 0);
        Assert.That(Take(ledger, "a"), Is.EqualTo(new LeaseId(new PartId(2), 1)));
    }

    [Test]
    public void At_the_end_each_node_has_one_part()
    {
        JobLedger ledger = new LedgerJob(2, 2, 2).Open();
        LeaseId first = Take(ledger, "a")!.Value;
        Assert.That(Take(ledger, "b"), Is.Not.Null);
        Assert.That(Take(ledger, "a"), Is.Null, "b may end first");
        ledger.Done(first, 0);
        Assert.That(Take(ledger, "a"), Is.Not.Null);
    }

    [Test]
    public void Done_parts_are_counted_once()
    {
        JobLedger ledger = new LedgerJob(3, 2).Open();
        LeaseId lease = Take(ledger, "a")!.Value;
        ledger.Done(lease, 1);
        ledger.Done(lease, 1);
        Assert.That((ledger.DoneRows, ledger.DoneTokens, ledger.ErrorCount, ledger.MissingCount), Is.EqualTo((3, 30, 1, 1)));
        ledger.Done(Take(ledger, "a")!.Value, 0);
        Assert.That(ledger.IsDone, Is.True);
        Assert.That(Take(ledger, "a"), Is.Null);
    }

    [Test]
    public void A_renewed_lease_does_not_end()
    {
        var job = new LedgerJob(2, 2, 2);
        JobLedger ledger = job.Open();
        LeaseId lease = Take(ledger, "a")!.Value;
        job.Expire(ledger, renew: () => Assert.That(ledger.Renew("a", "a", [lease]), Is.Empty));
        Assert.That(ledger.Leases(), Is.EqualTo(new[] { (lease, "a", 0) }));
    }

    [Test]
    public void A_lease_that_is_not_renewed_ends_and_counts_as_an_attempt()
    {
        var job = new LedgerJob(2, 2, 2);
        JobLedger ledger = job.Open();
        LeaseId lease = Take(ledger, "a")!.Value;
        job.Expire(ledger);
        Assert.That((ledger.Leases().Count(), ledger.SuspectCount), Is.EqualTo((0, 1)));
        Assert.That(ledger.Renew("a", "a", [lease]), Is.EqualTo(new[] { lease }), "the node hears that it lost the lease");
        Assert.That(Take(ledger, "b"), Is.EqualTo(lease with { Epoch = 2 }));
        Assert.That(ledger.Leases().Single().Attempts, Is.EqualTo(1));
    }

    [Test]
    public void The_leases_of_a_node_that_ended_return_at_once()
    {
        JobLedger ledger = new LedgerJob(2, 2, 2, 2).Open();
        Assert.That(new[] { Take(ledger, "a"), Take(ledger, "b"), Take(ledger, "a") }, Has.All.Not.Null);
        ledger.NodeEnded("a");
        Assert.That(ledger.Leases().Select(lease => lease.Node), Is.EqualTo(new[] { "b" }));
        Assert.That(ledger.SuspectCount, Is.EqualTo(2));
    }

    [Test]
    public void A_lease_that_its_node_never_heard_of_returns_and_is_no_attempt()
    {
        var job = new LedgerJob(2, 2, 2);
        JobLedger ledger = job.Open();
        Assert.That(Take(ledger, "a"), Is.Not.Null);
        job.Clock.Advance(LeasePolicy.Default.RenewTime);
        ledger.Renew("a", "a", []);
        Assert.That(ledger.Leases().Count(), Is.EqualTo(1), "the answer may be on its way");
        job.Clock.Advance(Moment);
        ledger.Renew("a", "a", []);
        Assert.That((ledger.Leases().Count(), ledger.SuspectCount, ledger.MissingCount), Is.EqualTo((0, 0, 3)));
        Assert.That(job.Log.ReadAll()[new PartId(0)].Single().End, Is.EqualTo(LeaseEnd.Released));
    }

    [TestCase(false, 0)]
    [TestCase(true, 1)]
    public void A_lease_that_a_node_gives_back_is_an_attempt_only_if_it_failed(bool hasFailed, int suspects)
    {
        JobLedger ledger = new LedgerJob(2, 2, 2).Open();
        ledger.Return("a", Take(ledger, "a")!.Value, hasFailed);
        Assert.That((ledger.Leases().Count(), ledger.SuspectCount, ledger.MissingCount), Is.EqualTo((0, suspects, 3)));
        Assert.That(Take(ledger, "b"), Is.EqualTo(new LeaseId(new PartId(0), 2)));
    }

    [Test]
    public void Only_the_node_of_a_lease_gives_it_back()
    {
        JobLedger ledger = new LedgerJob(2, 2, 2).Open();
        LeaseId lease = Take(ledger, "a")!.Value;
        ledger.Return("b", lease, isAttempt: true);
        ledger.Return("a", lease with { Epoch = 2 }, isAttempt: true);
        Assert.That(ledger.Leases(), Is.EqualTo(new[] { (lease, "a", 0) }));
        Assert.That(ledger.Renew("b", "b", [lease]), Is.EqualTo(new[] { lease }));
    }

    [Test]
    public void A_coordinator_that_was_stopped_does_not_blame_nodes()
    {
        var job = new LedgerJob(2, 2, 2);
        JobLedger ledger = job.Open();
        LeaseId lease = Take(ledger, "a")!.Value;
        job.Clock.Advance(TimeSpan.FromHours(1));
        ledger.Tick();
        Assert.That(ledger.Renew("a", "a", [lease]), Is.Empty);
        job.Clock.Advance(TimeSpan.FromHours(1));
        ledger.Tick();
        Assert.That((ledger.Leases().Count(), ledger.SuspectCount), Is.EqualTo((1, 0)));
        job.Expire(ledger);
        Assert.That((ledger.Leases().Count(), ledger.SuspectCount), Is.EqualTo((0, 1)), "the node had all of its time again");
    }

    private static LeaseId? Take(JobLedger ledger, string node) => ledger.Take(node, node).Lease;
}
