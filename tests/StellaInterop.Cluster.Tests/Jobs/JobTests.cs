using System.Text.Json;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Cluster.Leases;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Tests.Jobs;

/// <summary>Runs jobs on nodes in this process.</summary>
internal sealed class JobTests
{
    [Test]
    public async Task Nodes_make_the_files_of_one_process()
    {
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output");
        StellaBulkOptions alone = options with { Output = options.Output + "-alone" };
        await new StellaBulkJob(new JobParts(new TestEmbedder()), alone).RunAsync();
        var embedders = new[] { new TestEmbedder(), new TestEmbedder() };
        foreach (TestEmbedder embedder in embedders)
        {
            await cluster.StartNodeAsync(embedder);
        }

        Assert.That(await cluster.SubmitAsync(options), Is.Null);
        ClusterStatus status = await cluster.UntilPhaseAsync(JobPhase.Complete);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(JobsOfNodes.Files(options.Output), Is.EquivalentTo(JobsOfNodes.Files(alone.Output)));
            Assert.That(Directory.Exists(Path.Combine(options.Output, "_cluster")), Is.False);
            Assert.That(embedders.Select(embedder => embedder.Computed.Count), Has.All.GreaterThan(0));
            Assert.That(status.Jobs[0].Status.DoneRowCount, Is.EqualTo(200));
        }
    }

    [Test]
    public async Task A_text_at_which_every_model_fails_is_the_only_row_at_fault()
    {
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output", JobsOfNodes.Rows(60).Append(("bad", "poison")).Concat(JobsOfNodes.Rows(60).Select(row => (row.Id + "b", row.Text))));
        var embedder = new TestEmbedder
        {
            Before = (texts, _) => texts.Contains("poison") ? throw new StellaException(StellaErrorCode.Panic, "The model failed.") : Task.CompletedTask,
        };
        await cluster.StartNodeAsync(embedder);
        await cluster.StartNodeAsync(embedder);
        await cluster.SubmitAsync(options);
        await cluster.UntilPhaseAsync(JobPhase.Complete);

        IReadOnlyDictionary<string, string> files = JobsOfNodes.Files(options.Output);
        string[] errors = [.. files.Where(file => file.Key.StartsWith("_errors", StringComparison.Ordinal)).SelectMany(file => file.Value.Split('\n', StringSplitOptions.RemoveEmptyEntries))];
        string[] ids = [.. files.Where(file => file.Key.StartsWith("part-", StringComparison.Ordinal)).SelectMany(file => file.Value.Split('\n', StringSplitOptions.RemoveEmptyEntries)).Select(IdOf)];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(errors.Select(IdOf), Is.EqualTo(["bad"]));
            Assert.That(errors[0], Does.Contain("ends_process"));
            Assert.That(ids, Is.EquivalentTo(JobsOfNodes.Rows(60).SelectMany(row => (string[])[row.Id, row.Id + "b"])));
        }
    }

    [Test]
    public async Task A_job_whose_inputs_cannot_be_read_fails_with_the_reason()
    {
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output") with { IdColumn = "key", InputFormat = StellaBulkInputFormat.Csv };
        await cluster.StartNodeAsync();
        await cluster.SubmitAsync(options);
        ClusterStatus status = await cluster.UntilPhaseAsync(JobPhase.Failed);
        Assert.That(status.Jobs[0].Status.FailureCode, Is.EqualTo(nameof(StellaBulkErrorCode.InputUnreadable)));
        Assert.That(status.Jobs[0].Status.Message, Does.Contain("column"));
    }

    [Test]
    public async Task A_failure_of_the_machine_is_no_fault_of_its_rows()
    {
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output", JobsOfNodes.Rows(1));
        int failures = LeasePolicy.Default.RowAttempts;
        await cluster.StartNodeAsync(new TestEmbedder
        {
            Before = (_, _) => Interlocked.Decrement(ref failures) >= 0 ? throw new StellaException(StellaErrorCode.OutOfMemory, "The machine failed.") : Task.CompletedTask,
        });
        await cluster.SubmitAsync(options);
        ClusterStatus status = await cluster.UntilPhaseAsync(JobPhase.Complete);
        Assert.That((status.Jobs[0].Status.ErrorCount, status.Jobs[0].Status.DoneRowCount), Is.EqualTo((0, 1)));
    }

    [Test]
    public async Task A_node_that_is_not_like_the_others_says_why_it_takes_nothing()
    {
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output");
        var slow = new TestEmbedder { Before = (_, stop) => Task.Delay(100, stop) };
        await cluster.StartNodeAsync(slow);
        await cluster.SubmitAsync(options);
        await cluster.UntilPhaseAsync(JobPhase.Running);
        await cluster.StartNodeAsync(new TestEmbedder(model: 1));
        await cluster.StartNodeAsync(level: "avx512");
        await cluster.StartNodeAsync(version: "2");
        ClusterStatus status = await cluster.UntilAsync(status => status.Nodes.Count(node => node.Info.Refusals.Count > 0) == 3 || status.Jobs[0].Status.HasEnded);

        string[] reasons = [.. status.Nodes.SelectMany(node => node.Info.Refusals.Values)];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(reasons, Has.Some.Contains("another model"));
            Assert.That(reasons, Has.Some.Contains("--level avx2"));
            Assert.That(reasons, Has.Some.Contains("version 1"));
        }

        await cluster.UntilPhaseAsync(JobPhase.Complete);
        Assert.That(slow.Computed, Has.Count.EqualTo(200));
    }

    [Test]
    public async Task A_job_goes_on_when_a_node_leaves_and_another_one_joins()
    {
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output");
        await cluster.StartNodeAsync(new TestEmbedder { Before = (_, stop) => Task.Delay(100, stop) });
        NodeEndpoints leaving = await cluster.StartNodeAsync(new TestEmbedder { Before = (_, stop) => Task.Delay(100, stop) });
        await cluster.SubmitAsync(options);
        await cluster.UntilAsync(status => status.Jobs[0].Status.Nodes.Count == 2);
        await cluster.StopNodeAsync(leaving);
        var joined = new TestEmbedder();
        await cluster.StartNodeAsync(joined);
        await cluster.UntilPhaseAsync(JobPhase.Complete);

        Assert.That(joined.Computed, Is.Not.Empty);
    }

    [Test]
    public async Task A_job_is_paused_and_cancelled()
    {
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output");
        await cluster.StartNodeAsync(new TestEmbedder { Before = (_, stop) => Task.Delay(100, stop) });
        await cluster.SubmitAsync(options);
        await cluster.UntilAsync(status => status.Jobs[0].Status.DoneRowCount > 0);
        await cluster.WishAsync(options, JobWish.Pause);
        await cluster.UntilAsync(status => status.Jobs[0].Status is { Phase: JobPhase.Paused, Nodes: [{ Leases: 0 }] });
        await cluster.WishAsync(options, JobWish.Run);
        await cluster.UntilPhaseAsync(JobPhase.Running);
        await cluster.WishAsync(options, JobWish.Cancel);
        await cluster.UntilPhaseAsync(JobPhase.Cancelled);
        Assert.That(Directory.Exists(Path.Combine(options.Output, "_cluster")), Is.False);

        // Now the folder is that of a job of one process, which continues it.
        StellaBulkResult result = await new StellaBulkJob(new JobParts(new TestEmbedder()), options).RunAsync();
        Assert.That(result.RowCount, Is.EqualTo(200));
    }

    private static string IdOf(string line) => JsonDocument.Parse(line).RootElement.GetProperty("id").GetString()!;
}
