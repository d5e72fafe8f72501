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

    /// <summary>Runs the job, and writes its history and the rules to an output.</summary>
    /// <returns>Whether all rules hold.</returns>
    public async Task<bool> RunAsync(TextWriter output, CancellationToken cancellationToken)
    {
        string work = Directory.CreateTempSubdirectory("stella-chaos-").FullName;
        IReadOnlyList<Rule> rules;
        using (var history = new RunHistory(Path.Combine(work, "history.jsonl"), output, TimeProvider.System))
        {
            history.Add("run", "start", string.Create(CultureInfo.InvariantCulture, $"seed {seed}, {time.TotalSeconds:F0} s, {(lose == Safeguards.None ? "all safeguards" : $"without {lose}")}"));
            try
            {
                rules = await RunAsync(work, history, cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                history.Add("run", "broken off", $"The folder of the run is {work}.");
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
            Directory.Delete(work, recursive: true);
        }

        return holds;
    }

    private async Task<IReadOnlyList<Rule>> RunAsync(string work, RunHistory history, CancellationToken cancellationToken)
    {
        PostgresServer postgres = await PostgresServer.StartAsync(cancellationToken).ConfigureAwait(false);
        await using var stop = postgres.ConfigureAwait(false);
        history.Add("postgres", "started", string.Create(CultureInfo.InvariantCulture, $"port {postgres.Port}"));
        string folder = Directory.CreateDirectory(Path.Combine(work, "disk")).FullName;
        string output = Path.Combine(folder, "output");
        // As many chunks as the nodes could make in the time, so that the job is not complete before the faults are over.
        int chunks = (int)((FaultPlan.Nodes + FaultPlan.JoinLimit) * time / NodeFleet.Delay);
        ChaosInput input = ChaosInput.Write(work, chunks, seed);
        string reference = Path.Combine(work, "reference");
        await EmbedReferenceAsync(input, reference).ConfigureAwait(false);
        history.Add("reference", "complete");

        SmallDisk? disk = await SmallDisk.TryMountAsync(folder).ConfigureAwait(false);
        NodeNetwork? network = await NodeNetwork.TryCreateAsync().ConfigureAwait(false);
        try
        {
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
            if (disk is not null && !rules.All(rule => rule.Holds) && Directory.Exists(output))
            {
                _ = await Shell.RunAsync("cp", "-a", output, Path.Combine(work, "output")).ConfigureAwait(false);
            }

            return rules;
        }
        finally
        {
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
        for (int node = 1; node <= FaultPlan.Nodes; node++)
        {
            await fleet.JoinAsync(node).ConfigureAwait(false);
        }

        string cluster = postgres.AddressVia(relay: null);
        var submitter = new Submitter(input.Poisoned, output, cluster, work, history);
        await using var end = submitter.ConfigureAwait(false);
        using var watching = new CancellationTokenSource();
        Task<Rule> watch = new OutputWatch(output, history).RunAsync(watching.Token);

        var nemesis = new Nemesis(fleet, postgres, disk, submitter, history);
        using (var stopping = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken))
        {
            Task faults = nemesis.RunAsync(FaultPlan.Create(seed, time, kinds), stopping.Token);
            if (await Task.WhenAny(faults, submitter.Completion).ConfigureAwait(false) != faults)
            {
                history.Add("faults", "end", "The submitter has ended.");
                await stopping.CancelAsync().ConfigureAwait(false);
            }

            await faults.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        cancellationToken.ThrowIfCancellationRequested();
        history.Add("faults", "over");
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

        IReadOnlyList<string> strays = await fleet.LeaveAsync(LeaveTimeout, cancellationToken).ConfigureAwait(false);
        await watching.CancelAsync().ConfigureAwait(false);
        return [new(JobCompletes, completes), new(NodesEnd, strays), await watch.ConfigureAwait(false)];
    }

    private static async Task EmbedReferenceAsync(ChaosInput input, string reference)
    {
        ProcessStartInfo bulk = StellaTool.Command("bulk", ChaosInput.JobOptions(input.Clean, reference));
        _ = await Shell.RunAsync(bulk.FileName, bulk.ArgumentList).ConfigureAwait(false);
    }

    /// <summary>Returns the answer of <c>stella jobs</c>, for a job that is late.</summary>
    private static async Task<string> JobsAsync(string cluster, CancellationToken cancellationToken)
    {
        try
        {
            ProcessStartInfo jobs = StellaTool.Command("jobs", ["--cluster", cluster, "--json"]);
            return await Shell.RunAsync(jobs.FileName, jobs.ArgumentList).WaitAsync(TimeSpan.FromSeconds(20), cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is BenchException or TimeoutException)
        {
            return e.Message;
        }
    }
}
