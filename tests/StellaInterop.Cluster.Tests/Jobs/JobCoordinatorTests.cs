using Microsoft.Extensions.Time.Testing;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Tests.Jobs;

/// <summary>Tests the decisions of a coordinator about its job. The nodes are reports.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
internal sealed class JobCoordinatorTests
{
    private static readonly JobRequest Request = JobRequest.Of(
        new StellaBulkOptions { Inputs = ["/in/a.jsonl"], Output = "/out", Format = StellaBulkFormat.JsonLines, MaxErrors = 1 },
        JobSettings.Of(new StellaBulkOptions { Inputs = ["/in/a.jsonl"], Output = "/out", Format = StellaBulkFormat.JsonLines }, new TestEmbedder().Info));

    private readonly MemoryDisk disk = new();
    private readonly FakeTimeProvider clock = new();

    [Test]
    public void One_node_makes_the_plan_and_another_one_if_it_ends()
    {
        using JobCoordinator job = Begin();
        Assert.That(Ask(job, "a").Kind, Is.EqualTo(WorkKind.Plan));
        Assert.That(Ask(job, "b").Kind, Is.EqualTo(WorkKind.Wait));
        job.Tick(node => node == "a");
        Assert.That(Ask(job, "b").Kind, Is.EqualTo(WorkKind.Plan));
        clock.Advance(LeasePolicy.Default.LeaseTime / 2);
        _ = job.Report(Report("b") with { Task = WorkKind.Plan });
        clock.Advance(LeasePolicy.Default.LeaseTime * 0.75);
        job.Tick(_ => false);
        Assert.That(Ask(job, "c").Kind, Is.EqualTo(WorkKind.Wait), "b has renewed its task");
        clock.Advance(LeasePolicy.Default.LeaseTime);
        job.Tick(_ => false);
        Assert.That(Ask(job, "c").Kind, Is.EqualTo(WorkKind.Plan));
        PublishPlan();
        _ = job.Report(Report("c") with { EndedTask = new TaskMessage(WorkKind.Plan, IsDone: true) });
        Assert.That(Ask(job, "a").Lease?.Part, Is.EqualTo("00000000"));
    }

    [Test]
    public void A_plan_that_no_node_can_make_fails_the_job()
    {
        using JobCoordinator job = Begin();
        for (int attempt = 0; job.Phase != JobPhase.Failed; attempt++)
        {
            Assert.That(attempt, Is.LessThan(10));
            Assert.That(Ask(job, "a").Kind, Is.EqualTo(WorkKind.Plan));
            job.Tick(_ => true);
        }

        Assert.That(Ask(job, "a").Kind, Is.EqualTo(WorkKind.Leave));
        Assert.That(job.Failure?.Message, Does.Contain("Planning"));
    }

    [Test]
    public void A_fault_of_one_machine_is_not_that_of_the_job()
    {
        using JobCoordinator job = Begin();
        var fault = new FaultMessage(nameof(StellaBulkErrorCode.InputChanged), "The input file has changed.");
        _ = job.Report(Report("a") with { Fault = fault });
        _ = job.Report(Report("a") with { Fault = fault });
        Assert.That(job.Phase, Is.Not.EqualTo(JobPhase.Failed));
        _ = job.Report(Report("b") with { Fault = fault });
        Assert.That(job.Failure, Is.EqualTo((StellaBulkErrorCode.InputChanged, fault.Message)));
    }

    [Test]
    public void A_fault_that_the_only_machine_sees_again_and_again_fails_the_job()
    {
        using JobCoordinator job = Begin();
        for (int i = 0; i < 3; i++)
        {
            Assert.That(job.Phase, Is.Not.EqualTo(JobPhase.Failed));
            _ = job.Report(Report("a") with { Fault = new FaultMessage(nameof(StellaBulkErrorCode.OutputDamaged), "A part is damaged.") });
        }

        Assert.That(job.Failure?.Code, Is.EqualTo(StellaBulkErrorCode.OutputDamaged));
    }

    [Test]
    public void Rows_at_fault_of_all_nodes_count_towards_the_limit()
    {
        using JobCoordinator job = BeginPlanned();
        LeaseMessage first = Ask(job, "a").Lease!.Value;
        LeaseMessage second = Ask(job, "b").Lease!.Value;
        _ = job.Report(Report("a") with { Done = [new DoneMessage(first, 1, 1, "row 1")] });
        Assert.That(job.Failure, Is.Null);
        _ = job.Report(Report("b") with { Done = [new DoneMessage(second, 1, 1, "row 2")] });
        Assert.That(job.Failure?.Code, Is.EqualTo(StellaBulkErrorCode.TooManyErrors));
        Assert.That(job.Failure?.Message, Does.Contain("row 2"));
    }

    [Test]
    public void A_job_that_is_paused_gives_nothing_and_takes_what_is_in_hand()
    {
        using JobCoordinator job = BeginPlanned();
        LeaseMessage lease = Ask(job, "a").Lease!.Value;
        job.SetWish(JobWish.Pause);
        JobAnswer answer = job.Report(Report("a") with { Held = [lease], WantsWork = true });
        Assert.That((answer.Kind, answer.Lost.Count), Is.EqualTo((WorkKind.Stop, 0)));
        _ = job.Report(Report("a") with { Done = [new DoneMessage(lease, 1, 0, null)] });
        Assert.That(job.GetStatus("/out"), Has.Property(nameof(JobStatus.Phase)).EqualTo(JobPhase.Paused).And.Property(nameof(JobStatus.MissingPartCount)).EqualTo(2));
        job.SetWish(JobWish.Run);
        Assert.That(Ask(job, "a").Kind, Is.EqualTo(WorkKind.Part));
    }

    [Test]
    public void A_job_that_is_cancelled_leaves_no_leases_behind()
    {
        using JobCoordinator job = BeginPlanned();
        _ = Ask(job, "a");
        job.SetWish(JobWish.Cancel);
        job.Tick(_ => false);
        Assert.That((job.Phase, job.HasEnded), Is.EqualTo((JobPhase.Cancelled, true)));
        Assert.That(disk.Names, Has.None.StartsWith(OutputNames.ClusterFolder));
    }

    [Test]
    public void A_new_coordinator_knows_the_job_by_its_folder()
    {
        LeaseMessage lease;
        using (JobCoordinator before = BeginPlanned())
        {
            lease = Ask(before, "a").Lease!.Value;
        }

        using var job = new JobCoordinator(disk.Open(), clock, LeasePolicy.Default);
        job.SetWish(JobWish.Run);
        Assert.That(job.Report(Report("a") with { Held = [lease] }).Lost, Is.Empty);
        Assert.That(Ask(job, "b").Lease?.Part, Is.EqualTo("00000001"));
    }

    [TestCase("avx512", "1", "--level avx2")]
    [TestCase("avx2", "2", "version 1")]
    public void A_node_with_other_bits_is_refused(string level, string version, string reason)
    {
        using JobCoordinator job = Begin();
        Assert.That(job.Open(Node("b") with { Level = level, Version = version }, Request), Does.Contain(reason));
    }

    [Test]
    public void A_machine_without_the_folder_of_the_cluster_begins_nothing()
    {
        using var job = new JobCoordinator(disk.Open(), clock, LeasePolicy.Default);
        Assert.That(job.Open(Node("a"), Request), Does.Contain("shared folder"));
        Assert.That(disk.Names, Is.Empty);
    }

    private JobCoordinator Begin()
    {
        disk.Open().CreateFolder(OutputNames.ClusterFolder);
        var job = new JobCoordinator(disk.Open(), clock, LeasePolicy.Default);
        job.SetWish(JobWish.Run);
        Assert.That(job.Open(Node("a"), Request), Is.Null);
        return job;
    }

    /// <summary>Begins a job of three chunks that has a plan.</summary>
    private JobCoordinator BeginPlanned()
    {
        JobCoordinator job = Begin();
        _ = Ask(job, "a");
        PublishPlan();
        _ = job.Report(Report("a") with { EndedTask = new TaskMessage(WorkKind.Plan, IsDone: true) });
        return job;
    }

    private void PublishPlan() => JobOutput.Open(
        disk.Open(),
        new JobManifest(
            new BulkPlan(Request.Settings, [new PlannedFile("a.jsonl", 1, "00", 6)], [.. Enumerable.Range(0, 3).Select(_ => new Chunk(0, default, 2, 20, 0))]),
            [new FileStamp(1, 2, 3)]),
        [".jsonl"]);

    private static JobAnswer Ask(JobCoordinator job, string node) => job.Report(Report(node) with { WantsWork = true });

    private static NodeReport Report(string node) => new() { Node = node, Machine = node };

    private static NodeInfo Node(string node) => new() { Id = node, Machine = node, Address = node, Level = "avx2", Version = "1", Model = "test" };
}
