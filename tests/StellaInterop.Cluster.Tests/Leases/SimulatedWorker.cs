using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Tests.Commit;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Tests.Leases;

/// <summary>A process that takes leases, computes and commits. Each start is a node of its own.</summary>
internal sealed class SimulatedWorker
{
    private const int RowsOfBlock = 2;

    /// <summary>The number of times that a worker is run before it gives up a call.</summary>
    private const int Patience = 3;

    private readonly ClusterWorld world;
    private readonly string machine;
    private readonly int model;
    private readonly Random random;
    private readonly SimulatedProcess process;
    private readonly Dictionary<LeaseId, bool> held = [];
    private readonly List<(LeaseId, long)> done = [];
    private readonly List<(LeaseId, bool)> returned = [];
    private Action<string> step = static _ => { };
    private bool isWaiting;

    public SimulatedWorker(ClusterWorld world, int number, string machine, int model)
    {
        this.world = world;
        this.machine = machine;
        this.model = model;
        Node = $"node{number}";
        random = new Random(number);
        process = new SimulatedProcess(Run);
    }

    public string Node { get; }

    public bool IsDone => process.IsDone;

    public Exception? Error => process.Error;

    /// <summary>Whether the node gives its leases back and ends.</summary>
    public bool IsLeaving { get; set; }

    public void FillDisk() => process.IsDiskFull = true;

    /// <summary>Runs operations, until the worker waits for an answer.</summary>
    public void Run(int steps)
    {
        process.Run(1);
        for (; steps > 1 && !IsDone && !isWaiting; steps--)
        {
            process.Run(1);
        }
    }

    public void Kill() => process.Kill();

    private void Run(Action<string> processStep)
    {
        step = processStep;
        JobOutput output = world.OpenOutput(world.Disk.Open(step), model);
        using var reader = new ChunkReader(world.Files, world.Columns, output.Manifest.Plan, safeguards: world.Safeguards);
        var embedder = new TestEmbedder(model);
        while (true)
        {
            if (IsLeaving)
            {
                returned.AddRange(held.Keys.Select(lease => (lease, false)));
                held.Clear();
            }

            CoordinatorAnswer? answer = Report(wantsWork: !IsLeaving);
            if (answer is { Lease.Lease: { } next })
            {
                held.Add(next, answer.Lease.IsRejection);
            }

            if (answer is { IsDone: true } && output.TryComplete() is not null)
            {
                world.Disk.Open(step).DeleteFolder(OutputNames.ClusterFolder);
                return;
            }

            if (answer is not null && IsLeaving)
            {
                return;
            }

            // A second part is asked for while the first one is computed.
            if (held.Count > 0 && (held.Count > 1 || answer?.Lease.Lease is null || random.Next(2) == 0))
            {
                Make(held.Keys.Min(Comparer<LeaseId>.Create((a, b) => a.Part.CompareTo(b.Part))), output, reader, embedder);
            }
        }
    }

    /// <summary>Tells a coordinator what happened, and asks for a part.</summary>
    /// <returns><see langword="null"/> if there was no answer. The next report then has all of it again.</returns>
    private CoordinatorAnswer? Report(bool wantsWork)
    {
        var report = new WorkerReport(Node, machine, [.. held.Keys], [.. done], [.. returned], wantsWork);
        SimulatedCoordinator? coordinator = world.PickCoordinator(random);
        coordinator?.Send(report);
        for (int i = 0; i < Patience && report.Answer is null && coordinator is not { IsDone: true }; i++)
        {
            isWaiting = true;
            step("wait for the answer");
            isWaiting = false;
        }

        if (report.Answer is { } answer)
        {
            done.Clear();
            returned.Clear();
            foreach (LeaseId lost in answer.Lost)
            {
                held.Remove(lost);
            }
        }

        return report.Answer;
    }

    private void Make(LeaseId lease, JobOutput output, ChunkReader reader, TestEmbedder embedder)
    {
        bool isRejected = held[lease];
        try
        {
            using var writer = new ChunkWriter(output.Begin(lease.Part), ClusterWorld.Format, ClusterWorld.Schema, embedder.Info.MaxTokens);
            foreach (List<RowInHand> read in reader.Read(lease.Part, RowsOfBlock))
            {
                List<RowInHand> rows = isRejected ? [.. read.Select(row => Rejected(row, embedder.Info.MaxTokens))] : read;
                string[] texts = [.. rows.Where(row => row.Row.Fault is null).Select(row => row.Row.Text!)];
                step("compute");
                if (texts.Any(text => text.Contains(ClusterWorld.Poison, StringComparison.Ordinal)))
                {
                    throw world.PoisonFailure();
                }

                var block = new TextBlock(texts, [new float[4 * texts.Length]]);
                embedder.EmbedAsync(block, CancellationToken.None).GetAwaiter().GetResult();
                writer.Write(rows, block);
                if (random.Next(3) == 0)
                {
                    _ = Report(wantsWork: false);
                }
            }

            string? claim = world.Safeguards.HasFlag(Safeguards.Epoch) ? LeaseLog.ClaimOf(lease.Part, lease.Epoch) : null;
            (PartCounts counts, bool isCommitted) = writer.Commit(output, claim);
            if (isCommitted || output.IsCommitted(lease.Part))
            {
                done.Add((lease, counts.Errors));
            }
        }
        catch (IOException)
        {
            returned.Add((lease, false));
        }
        catch (ModelFailure)
        {
            returned.Add((lease, true));
        }

        held.Remove(lease);
    }

    private static RowInHand Rejected(RowInHand row, int maxTokens) => row.Row.Fault is null
        ? row with { Row = row.Row with { Text = null, Fault = row.Refusal(RowFaultKind.EndsProcess, maxTokens) } }
        : row;
}

/// <summary>The failure of a model that does not end the process.</summary>
internal sealed class ModelFailure : Exception;
