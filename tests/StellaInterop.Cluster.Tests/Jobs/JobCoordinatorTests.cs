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

    private static readonly JobOrder Run = new(JobWish.Run, MaxErrors: 1);

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
        Pass(job, LeasePolicy.Default.LeaseTime / 2);
        _ = job.Report(Report("b") with { Task = WorkKind.Plan });
        Pass(job, LeasePolicy.Default.LeaseTime * 0.75);
        Assert.That(Ask(job, "c").Kind, Is.EqualTo(WorkKind.Wait), "b has renewed its task");
        clock.Advance(LeasePolicy.Default.LeaseTime);
        job.Tick(_ => false);
        Assert.That(Ask(job, "c").Kind, Is.EqualTo(WorkKind.Wait), "the coordinator was stopped, and not b");
        Pass(job, LeasePolicy.Default.LeaseTime * 1.25);
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
        _ = job.Report(Report("b"));
        for (int i = 0; i < 5; i++)
        {
            _ = job.Report(Report("a") with { Fault = Fault(StellaBulkErrorCode.InputUnreadable) });
        }

        Assert.That(job.Phase, Is.Not.EqualTo(JobPhase.Failed));
        _ = job.Report(Report("b") with { Fault = Fault(StellaBulkErrorCode.InputUnreadable) });
        Assert.That(job.Failure?.Code, Is.EqualTo(StellaBulkErrorCode.InputUnreadable));
    }

    [Test]
    public void A_fault_that_the_only_machine_sees_again_and_again_fails_the_job()
    {
        using JobCoordinator job = Begin();
        for (int i = 0; i < 3; i++)
        {
            Assert.That(job.Phase, Is.Not.EqualTo(JobPhase.Failed));
            FaultMessage fault = Fault(StellaBulkErrorCode.OutputDamaged);
            _ = job.Report(Report("a") with { Fault = fault });
            // The answer was lost.
            _ = job.Report(Report("a") with { Fault = fault });
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
        job.SetOrder(Run with { Wish = JobWish.Pause });
        JobAnswer answer = job.Report(Report("a") with { Held = [lease], WantsWork = true });
        Assert.That((answer.Kind, answer.Lost.Count), Is.EqualTo((WorkKind.Stop, 0)));
        _ = job.Report(Report("a") with { Done = [new DoneMessage(lease, 1, 0, null)] });
        Assert.That(job.GetStatus("/out"), Has.Property(nameof(JobStatus.Phase)).EqualTo(JobPhase.Paused).And.Property(nameof(JobStatus.MissingPartCount)).EqualTo(2));
        job.SetOrder(Run);
        Assert.That(Ask(job, "a").Kind, Is.EqualTo(WorkKind.Part));
    }

    [Test]
    public void A_job_that_is_cancelled_leaves_no_leases_behind()
    {
        using JobCoordinator job = BeginPlanned();
        _ = Ask(job, "a");
        job.SetOrder(Run with { Wish = JobWish.Cancel });
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
        job.SetOrder(Run);
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

    [Test]
    public void A_job_that_is_not_in_the_list_is_left_as_it_is()
    {
        using JobCoordinator job = BeginPlanned();
        LeaseMessage lease = Ask(job, "a").Lease!.Value;
        job.SetOrder(null);
        job.Tick(_ => false);
        JobAnswer answer = job.Report(Report("a") with { Held = [lease], WantsWork = true });
        Assert.That((answer.Kind, answer.Lost.Count, job.HasEnded), Is.EqualTo((WorkKind.Leave, 0, false)));
        Assert.That(disk.Names, Has.Some.StartsWith(OutputNames.ClusterFolder));
        job.SetOrder(Run);
        Assert.That(job.Report(Report("a") with { Held = [lease], WantsWork = true }).Kind, Is.EqualTo(WorkKind.Part), "it was submitted again");
    }

    [Test]
    public void A_job_is_complete_if_its_last_coordinator_could_not_tell()
    {
        Complete();
        using var job = new JobCoordinator(disk.Open(), clock, LeasePolicy.Default);
        job.SetOrder(Run);
        Assert.That(job.Open(Node("a"), Request), Is.Empty);
        Assert.That((job.HasEnded, job.GetStatus("/out").Phase), Is.EqualTo((true, JobPhase.Complete)));
    }

    [Test]
    public void The_level_of_parts_outlives_a_job_that_was_cancelled()
    {
        using (JobCoordinator before = BeginPlanned())
        {
            Commit(Ask(before, "a"));
            Cancel(before);
        }

        using JobCoordinator job = Begin("avx2");
        Assert.That(job.Open(Node("b") with { Level = "avx512" }, Request), Does.Contain("--level avx2"));
        Assert.That(Ask(job, "a").Lease?.Part, Is.EqualTo("00000001"));
    }

    [Test]
    public void A_job_that_was_cancelled_without_a_part_may_have_another_level()
    {
        using (JobCoordinator before = BeginPlanned())
        {
            _ = Ask(before, "a");
            Cancel(before);
        }

        using JobCoordinator job = Begin("avx512");
        Assert.That(job.GetStatus("/out").Level, Is.EqualTo("avx512"));
    }

    [Test]
    public void The_limit_of_rows_at_fault_is_that_of_the_list_also_for_a_new_coordinator()
    {
        using (JobCoordinator before = BeginPlanned())
        {
            for (int i = 0; i < 2; i++)
            {
                Commit(Ask(before, "a"), errors: "{}\n");
            }
        }

        using var job = new JobCoordinator(disk.Open(), clock, LeasePolicy.Default);
        _ = job.Report(Report("a"));
        Assert.That(job.Failure, Is.Null, "the limit is not known yet");
        job.SetOrder(Run with { MaxErrors = 2 });
        _ = job.Report(Report("a"));
        Assert.That(job.Failure, Is.Null);
        job.SetOrder(Run);
        _ = job.Report(Report("a"));
        Assert.That(job.Failure?.Code, Is.EqualTo(StellaBulkErrorCode.TooManyErrors));
    }

    [Test]
    public void A_node_that_leaves_has_nothing_even_if_it_never_heard_of_it()
    {
        using JobCoordinator job = BeginPlanned();
        Assert.That(Ask(job, "a").Lease, Is.Not.Null);
        _ = job.Report(Report("a") with { IsLeaving = true });
        Assert.That(job.GetStatus("/out"), Has.Property(nameof(JobStatus.SuspectCount)).EqualTo(0).And.Property(nameof(JobStatus.Nodes)).Empty);
        job.Tick(node => node == "a");
        Assert.That(job.GetStatus("/out").SuspectCount, Is.Zero, "it counts as no attempt");
    }

    [Test]
    public void A_coordinator_without_the_folder_says_so()
    {
        using var job = new JobCoordinator(disk.Open(), clock, LeasePolicy.Default);
        job.SetOrder(Run);
        Assert.That(job.Open(Node("a"), Request), Does.Contain("has no folder '"));
        Assert.That(job.LacksFolder, Is.True);
        disk.Open().CreateFolder(OutputNames.ClusterFolder);
        Assert.That(job.Open(Node("a"), Request), Is.Null);
        Assert.That(job.LacksFolder, Is.False);
    }

    /// <summary>Lets time pass, in which the coordinator runs.</summary>
    private void Pass(JobCoordinator job, TimeSpan time)
    {
        for (TimeSpan passed = TimeSpan.Zero; passed < time; passed += LeasePolicy.Default.RenewTime)
        {
            clock.Advance(LeasePolicy.Default.RenewTime);
            job.Tick(_ => false);
        }
    }

    private void Cancel(JobCoordinator job)
    {
        job.SetOrder(Run with { Wish = JobWish.Cancel });
        job.Tick(_ => false);
        Assert.That(disk.Names, Has.None.StartsWith(OutputNames.ClusterFolder));
    }

    private void Commit(JobAnswer answer, string? errors = null)
    {
        Assert.That(PartId.TryParse(answer.Lease!.Value.Part, out PartId id), Is.True);
        JobOutput output = OpenOutput();
        using PartInHand part = output.Begin(id);
        part.Files[0].Content.Write("{}\n{}\n"u8);
        if (errors is not null)
        {
            part.OpenErrors().Write(System.Text.Encoding.UTF8.GetBytes(errors));
        }

        Assert.That(output.Commit(part, new PartCounts(2, 2, 0, errors is null ? 0 : 1), answer.Claim), Is.True);
    }

    private void Complete()
    {
        PublishPlan();
        for (int chunk = 0; chunk < 3; chunk++)
        {
            Commit(new JobAnswer(WorkKind.Part, new LeaseMessage(new PartId(chunk).ToString(), 1), Claim: null, IsRejection: false, []));
        }

        Assert.That(OpenOutput().TryComplete(), Is.Not.Null);
    }

    private static FaultMessage Fault(StellaBulkErrorCode code) => new(Guid.NewGuid(), code.ToString(), "The message.");

    private JobCoordinator Begin(string level = "avx2")
    {
        disk.Open().CreateFolder(OutputNames.ClusterFolder);
        var job = new JobCoordinator(disk.Open(), clock, LeasePolicy.Default);
        job.SetOrder(Run);
        Assert.That(job.Open(Node("a") with { Level = level }, Request), Is.Null);
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

    private void PublishPlan() => _ = OpenOutput();

    private JobOutput OpenOutput() => JobOutput.Open(
        disk.Open(),
        new JobManifest(
            new BulkPlan(Request.Settings, [new PlannedFile("a.jsonl", 1, "00", 6)], [.. Enumerable.Range(0, 3).Select(_ => new Chunk(0, default, 2, 20, 0))]),
            [new FileStamp(1, 2, 3)]),
        [".jsonl"]);

    private static JobAnswer Ask(JobCoordinator job, string node) => job.Report(Report(node) with { WantsWork = true });

    private static NodeReport Report(string node) => new() { Node = node, Machine = node };

    private static NodeInfo Node(string node) => new() { Id = node, Machine = node, Address = node, Level = "avx2", Version = "1", Model = "test" };
}
