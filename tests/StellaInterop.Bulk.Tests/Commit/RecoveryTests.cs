using System.Text;
using System.Text.Json;
using CsCheck;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Outputs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Commit;

/// <summary>Runs jobs under random schedules of everything that may happen to them.</summary>
/// <remarks>
/// Processes are killed or stopped for long, the power fails, the disk is full, the input changes, and runs have other settings or another
/// model. A cluster may have worked on the job before, and halved chunks. The model to compare with is simple. In the end each id is there
/// once, with the vector of the planned text, and no part changes after it has its name.
/// </remarks>
internal sealed class RecoveryTests
{
    private const int Runs = 250;

    /// <summary>The number of runs in which the loss of a safeguard must show.</summary>
    private const int MutationRuns = 3000;

    /// <summary>The number of power failures at each operation, each of which loses something else.</summary>
    private const int PowerFailures = 5;

    private const int ChunkTokens = 12;
    private const int MaxSteps = 40;

    private static readonly string[] Ids = [.. Enumerable.Range(0, 14).Select(i => $"id{i}")];

    private static readonly Gen<(Event What, int Which, int Amount)[]> Schedules = Gen.Select(
        Gen.Frequency(
            (20, Gen.Const(Event.Run)),
            (2, Gen.Const(Event.Kill)),
            (2, Gen.Const(Event.LosePower)),
            (1, Gen.Const(Event.ChangeInput)),
            (1, Gen.Const(Event.FillDisk))),
        Gen.Int[0, 1],
        Gen.Int[1, MaxSteps]).Array[1, 60];

    private enum Event
    {
        Run,
        Kill,
        LosePower,
        ChangeInput,
        FillDisk,
    }

    [Test]
    public void Every_id_is_there_once_with_its_vector_whatever_happens([Values] bool hasHalves) => Schedules.Sample(
        schedule =>
        {
            string? violation = Violation(schedule, Safeguards.All, hasHalves);
            Assert.That(violation, Is.Null);
        },
        iter: Runs,
        threads: 1,
        print: schedule => string.Join(' ', schedule));

    [TestCase(Safeguards.PutIfAbsent)]
    [TestCase(Safeguards.FlushOrder)]
    [TestCase(Safeguards.Fingerprint)]
    [TestCase(Safeguards.PlanHash)]
    [TestCase(Safeguards.RowChecksum)]
    public void The_loss_of_a_safeguard_is_noticed(Safeguards lost)
    {
        string? violation = null;
        for (int seed = 1; violation is null && seed <= MutationRuns; seed++)
        {
            violation = Violation(RandomSchedule(new Random(seed)), Safeguards.All & ~lost);
        }

        Assert.That(violation, Is.Not.Null, $"{MutationRuns} runs without {lost} went well.");
        TestContext.Out.WriteLine(violation);
    }

    [Test]
    public void Power_may_fail_before_any_operation([Values] bool hasHalves)
    {
        bool isDone = false;
        for (int steps = 1; !isDone; steps++)
        {
            for (int seed = 0; seed < PowerFailures; seed++)
            {
                using var world = new World(Safeguards.All, hasHalves);
                SimulatedProcess process = world.Start(model: 0, level: 0, hasPrompt: false);
                process.Run(steps);
                isDone = process.IsDone;
                process.Kill();
                world.Disk.LosePower(new Random(seed));
                Assert.That(world.IsComplete ? world.Check() : null, Is.Null, $"{steps} operations, seed {seed}");
                SimulatedProcess next = world.StartLast();
                next.RunToEnd();
                Assert.That(next.Error, Is.Null, $"{steps} operations, seed {seed}");
                Assert.That(world.Check(), Is.Null, $"{steps} operations, seed {seed}");
            }
        }
    }

    private static (Event, int, int)[] RandomSchedule(Random random) =>
    [
        .. Enumerable.Range(0, random.Next(1, 60)).Select(_ => (
            random.Next(26) switch
            {
                < 20 => Event.Run,
                < 22 => Event.Kill,
                < 24 => Event.LosePower,
                24 => Event.ChangeInput,
                _ => Event.FillDisk,
            },
            random.Next(2),
            random.Next(1, MaxSteps + 1))),
    ];

    /// <summary>Runs a schedule, then a last process to its end, then the processes that were stopped meanwhile.</summary>
    /// <returns>The first rule that does not hold; <see langword="null"/> if all do.</returns>
    private static string? Violation((Event What, int Which, int Amount)[] schedule, Safeguards safeguards, bool hasHalves = false)
    {
        using var world = new World(safeguards, hasHalves);
        var processes = new SimulatedProcess?[2];
        foreach (var (what, which, amount) in schedule)
        {
            switch (what)
            {
                case Event.Run:
                    if (processes[which] is null or { IsDone: true })
                    {
                        if (World.Damage(processes[which]) is { } damage)
                        {
                            processes[1 - which]?.Kill();
                            return damage;
                        }

                        // Each process has its own level; few have another model or other settings.
                        processes[which] = world.Start(model: amount % 9 == 1 ? 1 : 0, level: which, hasPrompt: amount % 9 == 2);
                    }

                    processes[which]!.Run(amount);
                    break;
                case Event.Kill:
                    processes[which]?.Kill();
                    break;
                case Event.LosePower:
                    processes[0]?.Kill();
                    processes[1]?.Kill();
                    world.Disk.LosePower(new Random(amount));
                    break;
                case Event.ChangeInput:
                    world.ChangeInput();
                    break;
                case Event.FillDisk:
                    processes[which]?.IsDiskFull = true;
                    break;
            }

            if (world.IsComplete && world.Check() is { } broken)
            {
                processes[0]?.Kill();
                processes[1]?.Kill();
                return broken;
            }
        }

        SimulatedProcess last = world.StartLast();
        last.RunToEnd();
        if (last.Error is not null)
        {
            processes[0]?.Kill();
            processes[1]?.Kill();
            return $"The last process ended with {last.Error}";
        }

        string? violation = world.Check();
        foreach (SimulatedProcess? late in processes)
        {
            late?.RunToEnd();
            violation ??= World.Damage(late);
        }

        return violation ?? world.Check();
    }

    /// <summary>An input file, a disk, and the rules that must hold.</summary>
    private sealed class World : IDisposable
    {
        private static readonly PartSchema Schema = new([4], StellaBulkVectorType.Float32);
        private static readonly TestParts Format = new();

        /// <summary>The parts that a cluster has made: one half of a chunk, the other half of another one, and both halves of a third.</summary>
        private static readonly PartId[] Halves = [new(0, "0"), new(1, "1"), new(2, "0"), new(2, "1")];

        private readonly TemporaryFolder folder = new();
        private readonly Safeguards safeguards;
        private readonly string[] contents = [Content(""), Content("B")];
        private int version;

        /// <param name="safeguards">The safeguards of all processes.</param>
        /// <param name="hasHalves">Whether a cluster has begun the job, and halved chunks.</param>
        public World(Safeguards safeguards, bool hasHalves = false)
        {
            this.safeguards = safeguards;
            File.WriteAllText(InputPath, contents[version]);
            if (hasHalves)
            {
                Run(Disk.Open(), new TestEmbedder(), Halves);
            }
        }

        public MemoryDisk Disk { get; } = new();

        /// <summary>Whether a reader may believe that the output is complete.</summary>
        public bool IsComplete => Disk.Names.Contains(OutputNames.Success);

        private string InputPath => folder.File("input.rows");

        public void ChangeInput()
        {
            version ^= 1;
            File.WriteAllText(InputPath, contents[version]);
        }

        public SimulatedProcess Start(int model, int level, bool hasPrompt)
        {
            StellaPrompt prompt = hasPrompt ? StellaPrompt.SearchQuery : StellaPrompt.Default;
            return new SimulatedProcess(step => Run(Disk.Open(step), new TestEmbedder(model, level) { Prompt = prompt }));
        }

        /// <summary>Starts a process with the input and the settings that the manifest names.</summary>
        public SimulatedProcess StartLast()
        {
            if (ReadManifest() is not { } manifest)
            {
                return Start(0, 0, hasPrompt: false);
            }

            version = Array.FindIndex(contents, content => FileContent.Hash(Encoding.UTF8.GetBytes(content)) == manifest.Plan.Files[0].Sha256);
            File.WriteAllText(InputPath, contents[version]);
            Dictionary<string, string> settings = manifest.Plan.Settings.ToDictionary();
            return Start(settings.GetValueOrDefault("model_fingerprint_4") == "model1-4" ? 1 : 0, 0, settings["prompt"].Length > 0);
        }

        /// <summary>Returns the error of a process that found its output damaged, which never happens by itself.</summary>
        public static string? Damage(SimulatedProcess? process) => process?.Error switch
        {
            StellaBulkException { Code: StellaBulkErrorCode.OutputDamaged or StellaBulkErrorCode.OutputRefused } e => e.Message,
            null or StellaBulkException or ProcessKilled or IOException => null,
            var other => other.ToString(),
        };

        /// <summary>Returns the first rule that the complete output breaks.</summary>
        public string? Check()
        {
            if (Disk.ChangedParts.Count > 0)
            {
                return $"{Disk.ChangedParts[0]} has changed.";
            }

            if (ReadManifest() is not { Parts: not null } manifest || !IsComplete)
            {
                return "The output is not complete.";
            }

            string[] names = [.. Disk.Names];
            string text = contents[Array.FindIndex(contents, content => FileContent.Hash(Encoding.UTF8.GetBytes(content)) == manifest.Plan.Files[0].Sha256)];
            Dictionary<string, string> texts = text.Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(line => line.TrimStart('!').Split('|')).ToDictionary(row => row[0], row => row.Length > 1 ? row[1] : "");
            StellaPrompt prompt = manifest.Plan.Settings.Single(setting => setting.Key == "prompt").Value.Length > 0 ? StellaPrompt.SearchQuery : StellaPrompt.Default;
            var seen = new List<string>();
            var models = new HashSet<int> { 0, 1 };
            string[] parts = [.. names.Where(name => name.StartsWith(OutputNames.PartPrefix, StringComparison.Ordinal) && name.EndsWith(".ids", StringComparison.Ordinal))];
            foreach (string name in parts)
            {
                string[] ids = [.. Lines(name).Select(line => line.Split(' ')[0])];
                string[] vectors = Lines(name.Replace(".ids", ".vectors", StringComparison.Ordinal));
                if (vectors.Length != ids.Length)
                {
                    return $"{name} has {ids.Length} ids and {vectors.Length} vectors.";
                }

                if (!Lines(name).Select(line => line.Split(' ')[^1]).SequenceEqual(vectors.Select(vector => vector.Split(' ')[0])))
                {
                    return $"{name} is of other vectors.";
                }

                models.RemoveWhere(model => !Enumerable.Range(0, 2).Any(level => ids.Select(id => Bits(
                    new TestEmbedder(model, level) { Prompt = prompt }.Vector(texts.GetValueOrDefault(id, "?"), 4))).SequenceEqual(vectors)));
                seen.AddRange(ids);
            }

            if (models.Count == 0)
            {
                return "The vectors are not those of one model, one prompt and the planned texts.";
            }

            foreach (string name in names.Where(name => name.StartsWith(OutputNames.ErrorsFolder, StringComparison.Ordinal)))
            {
                seen.AddRange(Lines(name).Select(line => JsonDocument.Parse(line).RootElement.GetProperty("id").GetString()!));
            }

            if (!seen.Order().SequenceEqual(Ids.Order()))
            {
                return $"The ids are {string.Join(' ', seen)}.";
            }

            string[] recorded = [.. manifest.Parts.Select(record => $"{OutputNames.PartPrefix}{record.Id}")];
            if (!parts.Select(name => name[..name.LastIndexOf('-')]).SequenceEqual(recorded))
            {
                return $"The manifest has {string.Join(' ', recorded)}, and the folder has {string.Join(' ', parts)}.";
            }

            for (int i = 0; i < parts.Length; i++)
            {
                string part = parts[i][..^".ids".Length];
                if (!manifest.Parts[i].Hashes.SequenceEqual([FileContent.Hash(Disk.Read(part + ".ids")), FileContent.Hash(Disk.Read(part + ".vectors"))]))
                {
                    return $"The manifest has other hashes than {part}.";
                }
            }

            return null;
        }

        public void Dispose() => folder.Dispose();

        /// <summary>One run of a job, as <see cref="BulkRun"/> runs it, with one thing after the other.</summary>
        /// <param name="output">The output folder.</param>
        /// <param name="embedder">Computes the vectors.</param>
        /// <param name="given">The parts to make before the run leaves the job; <see langword="null"/> to complete it.</param>
        private void Run(IOutputFolder output, TestEmbedder embedder, IEnumerable<PartId>? given = null)
        {
            var options = new StellaBulkOptions
            {
                Inputs = [InputPath],
                Output = output.Path,
                Format = StellaBulkFormat.JsonLines,
                Prompt = embedder.Prompt,
                ChunkTokens = ChunkTokens,
            };
            InputFile[] files = [new InputFile(InputPath, "input.rows", new TestRows())];
            var columns = new InputColumns();
            PreparedJob prepared = PreparedJob.Create(
                output,
                JobSettings.Of(options, embedder.Info, safeguards),
                new PlanScan(files, columns, ChunkTokens, embedder.Info.MaxTokens),
                static _ => { },
                safeguards,
                CancellationToken.None);
            JobOutput job = JobOutput.Open(output, prepared.Manifest, Format.ExtensionsOf(Schema), safeguards);
            var queue = new ChunkQueue(job, job.ReadCommitted(), shard: 0, shardCount: 1, count => count / 2);
            using var reader = new ChunkReader(files, columns, job.Manifest.Plan, safeguards: safeguards);
            if (given is not null)
            {
                foreach (PartId part in given)
                {
                    _ = Make(part);
                }

                return;
            }

            while (queue.Take() is { } part)
            {
                if (!Make(part))
                {
                    queue.Jump();
                }
            }

            _ = InputCheck.Check(files, job.Manifest.Plan.Files, prepared.Stamps, CancellationToken.None);
            _ = job.TryComplete();

            bool Make(PartId part)
            {
                using var writer = new ChunkWriter(job.Begin(part), Format, Schema, embedder.Info.MaxTokens);
                foreach (List<RowInHand> rows in reader.Read(part, maxRows: 2))
                {
                    string[] texts = [.. rows.Where(row => row.Row.Fault is null).Select(row => row.Row.Text!)];
                    var block = new TextBlock(texts, [new float[4 * texts.Length]]);
                    embedder.EmbedAsync(block, CancellationToken.None).GetAwaiter().GetResult();
                    writer.Write(rows, block);
                }

                return writer.Commit(job).IsCommitted;
            }
        }

        private JobManifest? ReadManifest()
        {
            try
            {
                return OutputOwner.ReadManifest(Disk.Open());
            }
            catch (StellaBulkException)
            {
                // The next process reports it.
                return null;
            }
        }

        private string[] Lines(string name) => Encoding.UTF8.GetString(Disk.Read(name)).Split('\n', StringSplitOptions.RemoveEmptyEntries);

        private static string Bits(float[] vector) => string.Concat(vector.Select(number => $"{BitConverter.SingleToUInt32Bits(number):x8} "));

        private static string Content(string mark) => string.Concat(Ids.Select((id, i) => i switch
        {
            3 => $"!{id}\n",
            7 => $"{id}|too long # {i}\n",
            _ => $"{id}|some text {(i % 5 == 0 && mark.Length > 0 ? mark : "A")} of row {i}\n",
        }));
    }
}
