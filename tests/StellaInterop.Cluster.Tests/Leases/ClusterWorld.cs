using System.Globalization;
using Microsoft.Extensions.Time.Testing;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Outputs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Bulk.Tests.Commit;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Cluster.Leases;
using StellaInterop.Tests;

namespace StellaInterop.Cluster.Tests.Leases;

/// <summary>An input file, a disk, a clock, and the processes of a cluster.</summary>
internal sealed class ClusterWorld : IDisposable
{
    /// <summary>The mark of a text whose computation fails.</summary>
    public const string Poison = "poison";

    private const int ChunkTokens = 18;
    private const int RowCount = 12;

    private readonly TemporaryFolder folder = new();
    private readonly bool poisonEndsProcess;
    private readonly SimulatedWorker?[] workers = new SimulatedWorker?[3];
    private readonly SimulatedCoordinator?[] coordinators = new SimulatedCoordinator?[2];
    private readonly List<SimulatedWorker> stopped = [];
    private readonly HashSet<(PartId Part, int Epoch)> accidents = [];
    private int workerCount;

    /// <param name="safeguards">The safeguards.</param>
    /// <param name="chunkAttempts">The attempts at a chunk before it is halved.</param>
    /// <param name="poisonEndsProcess">Whether the poison ends the process; otherwise the model fails.</param>
    public ClusterWorld(Safeguards safeguards, int chunkAttempts, bool poisonEndsProcess)
    {
        Safeguards = safeguards;
        Policy = LeasePolicy.Default with { ChunkAttempts = chunkAttempts };
        this.poisonEndsProcess = poisonEndsProcess;
        Texts = Enumerable.Range(0, RowCount).ToDictionary(row => $"id{row}", row => row switch
        {
            3 => null,
            5 => "too long #",
            7 => $"the {Poison}",
            _ => $"some text of row {row}",
        });
        File.WriteAllText(InputPath, string.Concat(Texts.Select(row => row.Value is null ? $"!{row.Key}\n" : $"{row.Key}|{row.Value}\n")));
        Files = [new InputFile(InputPath, "input.rows", new TestRows())];
        IOutputFolder output = Disk.Open();
        _ = OpenOutput(output, model: 0);
        output.CreateFolder(OutputNames.ClusterFolder);
    }

    public static PartSchema Schema { get; } = new([4], StellaBulkVectorType.Float32);

    public static TestParts Format { get; } = new();

    public MemoryDisk Disk { get; } = new();

    public FakeTimeProvider Clock { get; } = new();

    public LeasePolicy Policy { get; }

    public Safeguards Safeguards { get; }

    public InputFile[] Files { get; }

    public InputColumns Columns { get; } = new();

    /// <summary>The text of each id; <see langword="null"/> for a row that is at fault in the input.</summary>
    public IReadOnlyDictionary<string, string?> Texts { get; }

    public bool IsComplete => Disk.Names.Contains(OutputNames.Success);

    private string InputPath => folder.File("input.rows");

    /// <summary>Begins or continues the job as a process does.</summary>
    public JobOutput OpenOutput(IOutputFolder output, int model)
    {
        EmbedderInfo info = new TestEmbedder(model).Info;
        var options = new StellaBulkOptions
        {
            Inputs = [InputPath],
            Output = output.Path,
            Format = StellaBulkFormat.JsonLines,
            ChunkTokens = ChunkTokens,
        };
        PreparedJob prepared = PreparedJob.Create(
            output,
            JobSettings.Of(options, info, Safeguards),
            new PlanScan(Files, Columns, ChunkTokens, info.MaxTokens),
            static _ => { },
            Safeguards,
            CancellationToken.None);
        return JobOutput.Open(output, prepared.Manifest, Format.ExtensionsOf(Schema), Safeguards);
    }

    public Exception PoisonFailure() => poisonEndsProcess ? new ProcessKilled() : new ModelFailure();

    /// <summary>Returns a coordinator that runs; <see langword="null"/> if there is none.</summary>
    public SimulatedCoordinator? PickCoordinator(Random random)
    {
        SimulatedCoordinator[] running = [.. coordinators.OfType<SimulatedCoordinator>().Where(coordinator => !coordinator.IsDone)];
        return running.Length == 0 ? null : running[random.Next(running.Length)];
    }

    /// <summary>Runs a worker, and starts it before if there is none.</summary>
    public void RunWorker(int which, int steps, int model)
    {
        SimulatedWorker? worker = workers[which];
        if (worker is null or { IsDone: true })
        {
            workers[which] = worker = new SimulatedWorker(this, ++workerCount, $"machine{which}", model);
        }

        Run(worker, steps);
    }

    public void RunCoordinator(int which, int steps)
    {
        if (coordinators[which] is null or { IsDone: true })
        {
            coordinators[which] = new SimulatedCoordinator(this);
        }

        coordinators[which]!.Run(steps);
    }

    /// <summary>Ends a worker.</summary>
    /// <param name="which">The worker.</param>
    /// <param name="isNoticed">Whether the coordinators hear of the end of the node.</param>
    public void KillWorker(int which, bool isNoticed)
    {
        if (workers[which] is { IsDone: false } worker)
        {
            CountAccidents();
            worker.Kill();
            NodeEnded(worker, isNoticed);
        }
    }

    public void KillCoordinator(int which) => coordinators[which]?.Kill();

    /// <summary>Stops a worker for long. Another one takes its place.</summary>
    public void StopWorker(int which, bool isNoticed)
    {
        if (workers[which] is { IsDone: false } worker)
        {
            stopped.Add(worker);
            workers[which] = null;
            CountAccidents();
            NodeEnded(worker, isNoticed);
        }
    }

    /// <summary>Runs a worker that was stopped.</summary>
    public void RunStopped(int which, int steps)
    {
        if (stopped.Count > 0)
        {
            Run(stopped[which % stopped.Count], steps);
        }
    }

    public void FillDisk(int which, bool ofCoordinator)
    {
        if (ofCoordinator)
        {
            coordinators[which % 2]?.FillDisk();
        }
        else
        {
            workers[which]?.FillDisk();
        }
    }

    public void Leave(int which) => workers[which]?.IsLeaving = true;

    /// <summary>Lets time pass, while no process runs.</summary>
    public void Jump(TimeSpan time)
    {
        CountAccidents();
        Clock.Advance(time);
    }

    /// <summary>Lets so much time pass that all leases end, while only coordinators run.</summary>
    public void Wait()
    {
        for (TimeSpan time = TimeSpan.Zero; time <= Policy.LeaseTime + Policy.RenewTime; time += Policy.RenewTime)
        {
            CountAccidents();
            Clock.Advance(Policy.RenewTime);
            foreach (SimulatedCoordinator coordinator in coordinators.OfType<SimulatedCoordinator>())
            {
                coordinator.Run(100);
            }
        }
    }

    public void LosePower(int seed)
    {
        CountAccidents();
        KillAll();
        stopped.Clear();
        Disk.LosePower(new Random(seed));
    }

    /// <summary>Stops all processes, and runs one worker with a new coordinator until the output is complete.</summary>
    /// <param name="rounds">The number of rounds after which the job counts as endless.</param>
    /// <returns>Whether the output is complete.</returns>
    public bool RunLast(int rounds)
    {
        CountAccidents();
        stopped.AddRange(workers.OfType<SimulatedWorker>());
        Array.Clear(workers);
        SimulatedCoordinator?[] before = [.. coordinators];
        Array.Clear(coordinators);
        do
        {
            RunCoordinator(0, 1000);
            RunWorker(0, 100, model: 0);
            Clock.Advance(TimeSpan.FromSeconds(1));
        }
        while (--rounds > 0 && FirstError() is null && !(IsComplete && workers[0]!.IsDone));
        coordinators[0]!.Kill();
        before.CopyTo(coordinators, 0);
        return rounds > 0;
    }

    /// <summary>Runs all workers and coordinators that were stopped.</summary>
    public void RunLate(int rounds)
    {
        for (; rounds > 0 && stopped.Any(worker => !worker.IsDone); rounds--)
        {
            foreach (SimulatedCoordinator coordinator in coordinators.OfType<SimulatedCoordinator>())
            {
                coordinator.Run(1000);
            }

            foreach (SimulatedWorker worker in stopped)
            {
                worker.Run(100);
            }
        }
    }

    /// <summary>Returns the first error of a process that does not happen by itself.</summary>
    public string? FirstError() => workers.OfType<SimulatedWorker>().Concat(stopped).Select(worker => worker.Error)
        .Concat(coordinators.OfType<SimulatedCoordinator>().Select(coordinator => coordinator.Error))
        .Select(error => error switch
        {
            null or ProcessKilled or IOException or StellaBulkException { Code: StellaBulkErrorCode.SettingsDiffer } => null,
            StellaBulkException e => e.Message,
            var other => other.ToString(),
        })
        .FirstOrDefault(error => error is not null);

    /// <summary>Returns the number of leases of a part that something may have ended that is no fault of the part.</summary>
    public int AccidentsOf(PartId part) => accidents.Count(lease => lease.Part == part);

    /// <summary>Notes all leases that have not ended, because something happens that may end them.</summary>
    public void CountAccidents()
    {
        const string leaseEnd = ".lease";
        foreach (string name in Disk.Names.Where(name => name.EndsWith(leaseEnd, StringComparison.Ordinal)))
        {
            string[] fields = name[(OutputNames.ClusterFolder.Length + 1)..^leaseEnd.Length].Split('-');
            int epoch = int.Parse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture);
            if (PartId.TryParse(fields[0], out PartId part) && !Disk.Names.Contains(LeaseLog.ClaimOf(part, epoch)))
            {
                accidents.Add((part, epoch));
            }
        }
    }

    public void Dispose()
    {
        KillAll();
        folder.Dispose();
    }

    private void Run(SimulatedWorker worker, int steps)
    {
        bool wasDone = worker.IsDone;
        worker.Run(steps);
        if (worker.IsDone && !wasDone)
        {
            CountAccidents();
            NodeEnded(worker, isNoticed: steps % 2 == 0);
        }
    }

    private void NodeEnded(SimulatedWorker worker, bool isNoticed)
    {
        foreach (SimulatedCoordinator coordinator in coordinators.OfType<SimulatedCoordinator>().Where(_ => isNoticed))
        {
            coordinator.SendNodeEnded(worker.Node);
        }
    }

    private void KillAll()
    {
        foreach (SimulatedWorker worker in workers.OfType<SimulatedWorker>().Concat(stopped))
        {
            worker.Kill();
        }

        foreach (SimulatedCoordinator coordinator in coordinators.OfType<SimulatedCoordinator>())
        {
            coordinator.Kill();
        }
    }
}
