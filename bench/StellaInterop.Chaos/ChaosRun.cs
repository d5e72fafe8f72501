using System.Diagnostics;
using System.Globalization;
using StellaInterop.Bench.Sources;
using StellaInterop.Bench.Terminal;
using StellaInterop.Bulk.Commit;
using StellaInterop.Chaos.Checking;
using StellaInterop.Chaos.Faults;
using StellaInterop.Chaos.History;
using StellaInterop.Chaos.Inputs;
using StellaInterop.Chaos.Machine;
using StellaInterop.Chaos.Nodes;
using StellaInterop.Chaos.Postgres;
using StellaInterop.Chaos.Submitting;

namespace StellaInterop.Chaos;

/// <summary>Runs a job on a cluster of processes under faults, and checks its output.</summary>
/// <param name="seed">The seed of the faults and of the input.</param>
/// <param name="time">The time with faults.</param>
/// <param name="lose">The safeguard that the nodes lose; none in a usual run.</param>
internal sealed class ChaosRun(int seed, TimeSpan time, Safeguards lose)
{
    public const string JobCompletes = "The job completes, and the submitter ends with 6: rows in _errors";
    public const string NodesEnd = "Every node ends at SIGTERM and leaves no process";

    /// <summary>The time that the job may take once the faults are over and nodes are no longer slow.</summary>
    private static readonly TimeSpan SettleTimeout = TimeSpan.FromSeconds(120);

    private static readonly TimeSpan LeaveTimeout = TimeSpan.FromSeconds(45);

    /// <summary>The time that the answer of <c>stella jobs</c> may take.</summary>
    private static readonly TimeSpan JobsTimeout = TimeSpan.FromSeconds(20);

    /// <summary>The work that is left for the nodes at the planned end of the faults. On a busy machine, faults end late.</summary>
    private static readonly TimeSpan SpareTime = TimeSpan.FromSeconds(30);

    /// <summary>Seven minutes, less the time that the end of the processes takes.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(390);

    /// <summary>The step of the run, for a run that takes too long.</summary>
    private string step = "";

    /// <summary>Runs the job, and writes its history and the rules to an output.</summary>
    /// <returns>Whether all rules hold.</returns>
    public async Task<bool> RunAsync(TextWriter output, CancellationToken cancellationToken)
    {
        string work = Directory.CreateTempSubdirectory("stella-chaos-").FullName;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(Limit);
        IReadOnlyList<Rule> rules;
        using (var history = new RunHistory(Path.Combine(work, "history.jsonl"), output, TimeProvider.System))
        {
            history.Add("run", "start", string.Create(CultureInfo.InvariantCulture, $"seed {seed}, {time.TotalSeconds:F0} s, {(lose == Safeguards.None ? "all safeguards" : $"without {lose}")}"));
            try
            {
                rules = await RunAsync(work, history, limit.Token).ConfigureAwait(false);
            }
            catch (Exception e)
            {
                history.Add("run", "broken off", $"The folder of the run is {work}.");
                if (e is OperationCanceledException && !cancellationToken.IsCancellationRequested)
                {
                    throw new BenchException(
                        string.Create(CultureInfo.InvariantCulture, $"The run was not over after {Limit.TotalSeconds:F0} s, its limit. It was still at this step: {step}. See {work}."));
                }

                throw;
            }

            history.Add("run", "end");
        }

        await output.WriteLineAsync().ConfigureAwait(false);
        foreach (Rule rule in rules)
        {
            await output.WriteLineAsync(rule.ToString()).ConfigureAwait(false);
        }

        bool holds = rules.All(rule => rule.Holds);
        await output.WriteLineAsync(holds
            ? $"Seed {seed}: all rules hold."
            : $"Seed {seed}: {rules.Count(rule => !rule.Holds)} of {rules.Count} rules are broken. History, logs and output are in {work}.").ConfigureAwait(false);
        if (holds)
        {
            try
            {
                Directory.Delete(work, recursive: true);
            }
            catch (IOException e)
            {
                Progress.Log($"Could not delete {work}: {e.Message}");
            }
        }

        return holds;
    }

    private async Task<IReadOnlyList<Rule>> RunAsync(string work, RunHistory history, CancellationToken cancellationToken)
    {
        step = "the start of PostgreSQL";
        PostgresServer postgres = await PostgresServer.StartAsync(cancellationToken).ConfigureAwait(false);
        await using var stop = postgres.ConfigureAwait(false);
        history.Add("postgres", "started", string.Create(CultureInfo.InvariantCulture, $"port {postgres.Port}"));
        string folder = Directory.CreateDirectory(Path.Combine(work, "disk")).FullName;
        string output = Path.Combine(folder, "output");
        // More chunks than the nodes could make in the time on any machine, so that the job is not complete before the faults are over.
        int chunks = (int)((FaultPlan.Nodes + FaultPlan.JoinLimit) * (time + SpareTime) / NodeFleet.Delay);
        ChaosInput input = ChaosInput.Write(work, chunks, seed);
        string reference = Path.Combine(work, "reference");
        step = "the vectors of one process";
        await EmbedReferenceAsync(input, reference, cancellationToken).ConfigureAwait(false);
        history.Add("reference", "complete");

        SmallDisk? disk = null;
        NodeNetwork? network = null;
        bool holds = false;
        try
        {
            disk = await SmallDisk.TryMountAsync(folder).ConfigureAwait(false);
            network = await NodeNetwork.TryCreateAsync().ConfigureAwait(false);
            FaultKind[] kinds = [.. Enum.GetValues<FaultKind>().Where(kind => kind != FaultKind.FullDisk || disk is not null)];
            if (disk is null || network is null)
            {
                history.Add(
                    "run",
                    "reduced",
                    $"This process may not {(disk is null ? "mount a file system, so the disk is never full" : "")}{(disk is null && network is null ? ", and may not " : "")}"
                    + $"{(network is null ? "create a network, so a partition cuts a node off from PostgreSQL alone" : "")}. Run as root for these faults.");
            }

            var fleet = new NodeFleet(postgres, network, work, lose, history);
            IReadOnlyList<Rule> rules;
            await using (fleet.ConfigureAwait(false))
            {
                rules = await RunJobAsync(fleet, postgres, disk, kinds, input, output, history, cancellationToken).ConfigureAwait(false);
            }

            rules = [.. rules, .. new OutputCheck(output, reference, input.Ids, input.PoisonId).Check()];
            holds = rules.All(rule => rule.Holds);
            return rules;
        }
        finally
        {
            if (!holds && disk is not null && Directory.Exists(output) && !await Shell.TryAsync("cp", "-a", output, Path.Combine(work, "output")).ConfigureAwait(false))
            {
                history.Add("output", "lost", $"It could not be copied to {work}.");
            }

            foreach (IAsyncDisposable resource in ((IAsyncDisposable?[])[network, disk]).OfType<IAsyncDisposable>())
            {
                await resource.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    private async Task<IReadOnlyList<Rule>> RunJobAsync(
        NodeFleet fleet,
        PostgresServer postgres,
        SmallDisk? disk,
        IReadOnlyList<FaultKind> kinds,
        ChaosInput input,
        string output,
        RunHistory history,
        CancellationToken cancellationToken)
    {
        string work = Path.GetDirectoryName(history.Path)!;
        step = "the start of the nodes";
        for (int node = 1; node <= FaultPlan.Nodes; node++)
        {
            await fleet.JoinAsync(node).ConfigureAwait(false);
        }

        string cluster = postgres.AddressVia(relay: null);
        var submitter = new Submitter(input.Poisoned, output, cluster, work, history);
        await using var end = submitter.ConfigureAwait(false);
        using var watching = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<Rule> watch = new OutputWatch(output, history).RunAsync(watching.Token);

        step = "the faults";
        Rule faults = await new Nemesis(fleet, postgres, disk, submitter, history)
            .RunAsync(FaultPlan.Create(seed, time, kinds), cancellationToken).ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        step = "the end of the job";
        await File.WriteAllBytesAsync(Path.Combine(work, NodeArguments.HurryFile), [], cancellationToken).ConfigureAwait(false);

        _ = await Task.WhenAny(submitter.Completion, Task.Delay(SettleTimeout, cancellationToken)).ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        var completes = new List<string>();
        if (!submitter.Completion.IsCompleted)
        {
            completes.Add($"it was not complete {SettleTimeout.TotalSeconds:F0} s after the last fault");
            history.Add("run", "jobs", await JobsAsync(cluster, cancellationToken).ConfigureAwait(false));
        }
        else if (await submitter.Completion.ConfigureAwait(false) is not Submitter.CompleteWithErrors and var code)
        {
            completes.Add(string.Create(CultureInfo.InvariantCulture, $"the submitter ended with {code}: {submitter.LogEnd()}"));
        }

        step = "the end of the nodes";
        IReadOnlyList<string> ends = await fleet.LeaveAsync(LeaveTimeout, cancellationToken).ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        step = "the check of the output";
        await watching.CancelAsync().ConfigureAwait(false);
        return [faults, new(JobCompletes, completes), new(NodesEnd, ends), await watch.ConfigureAwait(false)];
    }

    private static async Task EmbedReferenceAsync(ChaosInput input, string reference, CancellationToken cancellationToken)
    {
        ProcessStartInfo bulk = StellaTool.Command("bulk", ChaosInput.JobOptions(input.Clean, reference));
        _ = await Shell.RunAsync(bulk.FileName, bulk.ArgumentList, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Returns the answer of <c>stella jobs</c>, for a job that is late.</summary>
    private static async Task<string> JobsAsync(string cluster, CancellationToken cancellationToken)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(JobsTimeout);
        try
        {
            ProcessStartInfo jobs = StellaTool.Command("jobs", ["--cluster", cluster, "--json"]);
            return await Shell.RunAsync(jobs.FileName, jobs.ArgumentList, timeout.Token).ConfigureAwait(false);
        }
        catch (BenchException e)
        {
            return e.Message;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return string.Create(CultureInfo.InvariantCulture, $"`stella jobs` had no answer after {JobsTimeout.TotalSeconds:F0} s.");
        }
    }
}
