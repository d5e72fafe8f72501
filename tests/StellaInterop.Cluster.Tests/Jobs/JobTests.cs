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
        // No node computes its first block before the other node has one, so that each of them makes a part.
        TaskCompletionSource[] begun = [NewSignal(), NewSignal()];
        TestEmbedder[] embedders =
        [
            .. begun.Select(own => new TestEmbedder
            {
                Before = (_, stop) =>
                {
                    own.TrySetResult();
                    return Task.WhenAll(begun.Select(signal => signal.Task)).WaitAsync(stop);
                },
            }),
        ];
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
            Assert.That(status.Jobs[0].Status.DoneRowCount, Is.EqualTo(JobsOfNodes.RowCount));
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
        using var gate = new SemaphoreSlim(0);
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output");
        TestEmbedder[] others = [new(model: 1), new(), new()];
        await cluster.StartNodeAsync(Gated(gate));
        await cluster.SubmitAsync(options);
        await cluster.UntilPhaseAsync(JobPhase.Running);
        await cluster.StartNodeAsync(others[0]);
        await cluster.StartNodeAsync(others[1], level: "avx512");
        await cluster.StartNodeAsync(others[2], version: "2");
        ClusterStatus status = await cluster.UntilAsync(status => status.Nodes.Count(node => node.Info.Refusals.Count > 0) == others.Length);

        string[] reasons = [.. status.Nodes.SelectMany(node => node.Info.Refusals.Values)];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(reasons, Has.Some.Contains("another model"));
            Assert.That(reasons, Has.Some.Contains("--level avx2"));
            Assert.That(reasons, Has.Some.Contains("version 1"));
        }

        gate.Release(JobsOfNodes.RowCount);
        await cluster.UntilPhaseAsync(JobPhase.Complete);
        Assert.That(others.SelectMany(other => other.Computed), Is.Empty);
    }

    [Test]
    public async Task A_node_that_cannot_write_says_so_takes_nothing_and_looks_again()
    {
        using var gate = new SemaphoreSlim(0);
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output");
        bool isFull = true;
        TestEmbedder[] others = [new(), new()];
        await cluster.StartNodeAsync(Gated(gate));
        await cluster.SubmitAsync(options);
        await cluster.UntilPhaseAsync(JobPhase.Running);
        await cluster.StartNodeAsync(others[0], fault: step => ThrowIf(step == "create", new UnauthorizedAccessException("Read-only file system.")));
        var noSpace = new IOException("No space left on device", OperatingSystem.IsWindows() ? unchecked((int)0x80070070) : OutputErrors.NoSpace);
        await cluster.StartNodeAsync(others[1], fault: step => ThrowIf(isFull && step == "flush", noSpace));
        ClusterStatus status = await cluster.UntilAsync(status => status.Nodes.Count(node => node.Info.Refusals.Count > 0) == others.Length);

        string[] reasons = [.. status.Nodes.SelectMany(node => node.Info.Refusals.Values)];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(reasons, Has.Some.Contains("Read-only file system"));
            Assert.That(reasons, Has.Some.Contains("is full"));
            Assert.That(others.SelectMany(other => other.Computed), Is.Empty);
        }

        isFull = false;
        // The first node still waits, so these rows are of the node that has room now.
        await cluster.UntilAsync(status => status.Jobs[0].Status.DoneRowCount > 0);
        gate.Release(JobsOfNodes.RowCount);
        await cluster.UntilPhaseAsync(JobPhase.Complete);
        Assert.That(others.Select(other => other.Computed.Count > 0), Is.EqualTo([false, true]));
    }

    [Test]
    public async Task A_job_goes_on_when_a_node_leaves_and_another_one_joins()
    {
        using var gate = new SemaphoreSlim(0);
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output");
        await cluster.StartNodeAsync(Gated(gate));
        NodeEndpoints leaving = await cluster.StartNodeAsync(Gated(gate));
        await cluster.SubmitAsync(options);
        await cluster.UntilAsync(status => status.Jobs[0].Status.Nodes.Count(node => node.Leases > 0) == 2);
        await cluster.StopNodeAsync(leaving);
        var joined = new TestEmbedder();
        await cluster.StartNodeAsync(joined);
        // The first node still waits, so these rows are of the node that joined.
        await cluster.UntilAsync(status => status.Jobs[0].Status.DoneRowCount > 0);
        Assert.That(joined.Computed, Is.Not.Empty);
        gate.Release(JobsOfNodes.RowCount);
        await cluster.UntilPhaseAsync(JobPhase.Complete);
    }

    [Test]
    public async Task The_coordinator_moves_when_its_machine_loses_the_folder()
    {
        using var gate = new SemaphoreSlim(0);
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output");
        // A coordinator that is not called each second for longer than a renewal takes its process for a stopped one.
        var policy = new LeasePolicy { LeaseTime = TimeSpan.FromSeconds(6), RenewTime = TimeSpan.FromSeconds(3) };
        bool isLost = false;
        await cluster.StartNodeAsync(Gated(gate), fault: _ => ThrowIf(isLost, new IOException("The folder is away.")), policy: policy);
        await cluster.SubmitAsync(options);
        await cluster.UntilPhaseAsync(JobPhase.Running);
        // The only node has the coordinator. It cannot write the parts in hand either.
        isLost = true;
        await cluster.StartNodeAsync(policy: policy);
        ClusterStatus waiting = await cluster.UntilAsync(status => status.Jobs[0].Status.Message is not null);
        Assert.That(waiting.Jobs[0].Status.Message, Does.Contain("The folder is away."));
        gate.Release(JobsOfNodes.RowCount);
        await cluster.UntilPhaseAsync(JobPhase.Complete);
    }

    [Test]
    public async Task A_job_is_paused_and_cancelled()
    {
        using var gate = new SemaphoreSlim(0);
        await using var cluster = new JobsOfNodes();
        StellaBulkOptions options = cluster.Options("output");
        await cluster.StartNodeAsync(Gated(gate));
        await cluster.SubmitAsync(options);
        gate.Release();
        await cluster.UntilAsync(status => status.Jobs[0].Status.DoneRowCount > 0);
        await cluster.WishAsync(options, JobWish.Pause);
        await cluster.UntilPhaseAsync(JobPhase.Paused);
        // The parts in hand are finished, and no other part is begun.
        gate.Release(LeasePolicy.Default.LeasesOfNode);
        ClusterStatus paused = await cluster.UntilAsync(status => status.Jobs[0].Status is { Phase: JobPhase.Paused, Nodes: [{ Leases: 0 }] });
        Assert.That(paused.Jobs[0].Status.DoneRowCount, Is.LessThan(JobsOfNodes.RowCount));
        await cluster.WishAsync(options, JobWish.Run);
        await cluster.UntilPhaseAsync(JobPhase.Running);
        await cluster.WishAsync(options, JobWish.Cancel);
        await cluster.UntilPhaseAsync(JobPhase.Cancelled);
        Assert.That(Directory.Exists(Path.Combine(options.Output, "_cluster")), Is.False);

        // Now the folder is that of a job of one process, which continues it.
        StellaBulkResult result = await new StellaBulkJob(new JobParts(new TestEmbedder()), options).RunAsync();
        Assert.That(result.RowCount, Is.EqualTo(JobsOfNodes.RowCount));
    }

    /// <summary>Creates an embedder that takes a permit of the gate for each block.</summary>
    private static TestEmbedder Gated(SemaphoreSlim gate) => new() { Before = (_, stop) => gate.WaitAsync(stop) };

    private static void ThrowIf(bool condition, Exception fault)
    {
        if (condition)
        {
            throw fault;
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static string IdOf(string line) => JsonDocument.Parse(line).RootElement.GetProperty("id").GetString()!;
}
