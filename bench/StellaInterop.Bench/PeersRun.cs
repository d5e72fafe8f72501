using System.Diagnostics;
using StellaInterop.Bench.Commands;
using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bench.Synthetic;

namespace StellaInterop.Bench;

/// <summary>What to measure.</summary>
/// <param name="Model">What the model is called.</param>
/// <param name="Folder">Where it lies.</param>
/// <param name="Shapes">What each call embeds.</param>
/// <param name="Engines">What is measured.</param>
/// <param name="Threads">Threads of each engine.</param>
/// <param name="Rounds">How often.</param>
internal sealed record PeersSettings(
    string Model, string Folder, IReadOnlyList<Shape> Shapes, IReadOnlyList<EngineSpec> Engines, int Threads, int Rounds);

/// <summary>Measures engines beside each other in one process: A B A B, so that what the machine does meets all alike.</summary>
internal sealed class PeersRun : IDisposable
{
    /// <summary>A call that is shorter is repeated until so much time has passed.</summary>
    private static readonly TimeSpan LeastTime = TimeSpan.FromSeconds(0.3);

    /// <summary>Texts on which the engines are compared with each other where there are no vectors of a reference.</summary>
    private static readonly Shape Comparison = new("texts of different lengths", [5, 16, 33, 100]);

    private readonly PeersSettings settings;
    private readonly Action<string> say;
    private readonly List<(EngineSpec Spec, IEngine Engine)> engines = [];
    private readonly List<EngineReport> reports = [];
    private readonly List<Measured> prepared = [];

    public PeersRun(PeersSettings settings, Action<string> say)
    {
        this.settings = settings;
        this.say = say;
    }

    /// <exception cref="BenchException">An engine computes something else.</exception>
    public PeersReport Run(CancellationToken cancellationToken)
    {
        DateTimeOffset date = DateTimeOffset.UtcNow;
        say("measuring the limits of the machine");
        HardwareLimits limits = HardwareLimits.Measure(settings.Threads, cancellationToken);
        var (info, comparison, workloads) = MakeTexts();
        Load(cancellationToken);
        Compare(comparison, cancellationToken);

        Prepare(workloads, cancellationToken);
        var load = new MachineLoad();
        Measure(cancellationToken);
        return new PeersReport(
            date,
            string.Join(' ', Environment.GetCommandLineArgs().Skip(1)),
            MachineInfo.Read(),
            limits,
            settings.Model,
            info.ParameterCount,
            settings.Threads,
            settings.Rounds,
            load.OthersShare(),
            reports,
            [.. settings.Shapes.Select(shape => Summarize(shape, info, limits))]);
    }

    public void Dispose()
    {
        prepared.ForEach(measured => measured.Work.Dispose());
        engines.ForEach(engine => engine.Engine.Dispose());
    }

    /// <summary>The library's own tokenizer makes the ids for all: none of the peers has one.</summary>
    private (StellaModelInfo Info, Workload Comparison, IReadOnlyList<Workload> Workloads) MakeTexts()
    {
        using StellaModel model = StellaModel.Load(settings.Folder);
        foreach (GoldenText golden in Golden())
        {
            if (!model.Tokenize(golden.Text, new StellaEmbedOptions { Prompt = golden.Prompt }).Ids.Span.SequenceEqual(golden.Ids))
            {
                throw new BenchException($"the ids of {golden.Name} are not those of the reference");
            }
        }

        var texts = new WordTexts(model, settings.Folder);
        return (model.Info, texts.Make(Comparison), [.. settings.Shapes.Select(texts.Make)]);
    }

    /// <summary>The texts whose vectors are known, if this is the model that they are of.</summary>
    private IReadOnlyList<GoldenText> Golden() =>
        settings.Model == SyntheticModel.Name ? GoldenText.Read(Tree.Golden(SyntheticModel.Name)) : [];

    private void Load(CancellationToken cancellationToken)
    {
        var engineSettings = new EngineSettings(settings.Folder, settings.Threads);
        foreach (EngineSpec spec in settings.Engines)
        {
            cancellationToken.ThrowIfCancellationRequested();
            say($"loading {spec.Name}");
            try
            {
                IEngine engine = spec.Load(engineSettings);
                engines.Add((spec, engine));
                LoadCost cost = ResidentCommand.Run(spec, engineSettings, cancellationToken);
                reports.Add(new EngineReport(spec.Name, spec.Precision, null, engine.Detail, cost.Seconds, cost.Resident));
            }
            catch (EngineUnavailableException e)
            {
                say($"{spec.Name} is not available: {e.Message}");
                reports.Add(new EngineReport(spec.Name, spec.Precision, Unavailable: e.Message));
            }
        }
    }

    /// <summary>Holds every engine against the float64 vectors, or against the first engine in f32 where there are none.</summary>
    private void Compare(Workload comparison, CancellationToken cancellationToken)
    {
        IReadOnlyList<GoldenText> golden = Golden();
        var wanted = new List<(Workload Workload, float[][] Vectors)>();
        if (golden.Count > 0)
        {
            // Alone, and those without a prompt in one call: what pads must give the same.
            GoldenText[] plain = [.. golden.Where(text => text.Prompt == StellaPrompt.Document)];
            wanted.AddRange(golden.Select(text => (text.AsWorkload(), new[] { VectorOf(text) })));
            wanted.Add((
                new Workload("all of them in one call", [.. plain.Select(text => text.Text)], [.. plain.Select(text => text.Ids)]),
                [.. plain.Select(VectorOf)]));
        }
        else if (engines.FirstOrDefault(engine => engine.Spec.Precision == StellaPrecision.Float32).Engine is { } reference)
        {
            wanted.Add((comparison, Embed(reference, comparison, cancellationToken)));
        }

        foreach (var (spec, engine) in engines)
        {
            say($"comparing the vectors of {spec.Name}");
            Tolerance tolerance = Tolerance.Of(spec.Precision, randomWeights: golden.Count > 0);
            Difference worst = Difference.None;
            foreach (var (workload, vectors) in wanted)
            {
                Difference here = Embed(engine, workload, cancellationToken).Zip(vectors, (found, right) => Difference.Between(found, right))
                    .Aggregate(Difference.None, (one, other) => one.And(other));
                if (!tolerance.Holds(here))
                {
                    throw new BenchException(
                        $"{spec.Name} does not give the vectors of the reference for {workload.Name}: cosine {here.Cosine:F7}, largest "
                        + $"difference {here.Largest:G2}; the limit is {tolerance}");
                }

                worst = worst.And(here);
            }

            int report = reports.FindIndex(report => report.Name == spec.Name);
            reports[report] = reports[report] with { Difference = worst };
        }

        static float[] VectorOf(GoldenText text) => text.Vectors.Single().Value;
    }

    private static float[][] Embed(IEngine engine, Workload workload, CancellationToken cancellationToken)
    {
        using IWork work = engine.Prepare(workload);
        work.Run(cancellationToken);
        return [.. Enumerable.Range(0, workload.Texts.Length).Select(text => work.Vector(text).ToArray())];
    }

    private void Prepare(IReadOnlyList<Workload> workloads, CancellationToken cancellationToken)
    {
        foreach (var (shape, workload) in settings.Shapes.Zip(workloads))
        {
            foreach (var (spec, engine) in engines)
            {
                say($"{shape.Name}, warm-up: {spec.Name}");
                IWork work = shape.IsUniform
                    ? engine.Prepare(workload)
                    : engine.PrepareBest(workload, note => say($"{shape.Name}, {spec.Name}, {note}"), cancellationToken);
                prepared.Add(new Measured(shape, spec, work, []));
                work.Run(cancellationToken);
            }
        }
    }

    private void Measure(CancellationToken cancellationToken)
    {
        for (int round = 1; round <= settings.Rounds; round++)
        {
            foreach (var (shape, spec, work, seconds) in prepared)
            {
                QuietMachine.Wait(cancellationToken);
                seconds.Add(Time(work, cancellationToken));
                say($"round {round} of {settings.Rounds}, {shape.Name}: {spec.Name} {shape.Tokens / seconds[^1]:F0} tokens/s");
            }
        }
    }

    /// <summary>
    /// Seconds of one run. One goes before that is not timed: the first after other engines may have to fetch its memory
    /// again, and where one run takes longer than the least time it would be all that is measured.
    /// </summary>
    private static double Time(IWork work, CancellationToken cancellationToken)
    {
        work.Run(cancellationToken);
        int runs = 0;
        var clock = Stopwatch.StartNew();
        do
        {
            work.Run(cancellationToken);
            runs++;
        }
        while (clock.Elapsed < LeastTime);

        return clock.Elapsed.TotalSeconds / runs;
    }

    private ShapeReport Summarize(Shape shape, StellaModelInfo info, HardwareLimits limits)
    {
        Cost cost = Cost.Of(info, shape.Lengths);
        return Summary.Of(
            shape,
            [.. prepared.Where(measured => measured.Shape == shape).Select(m => (m.Spec, (IReadOnlyList<double>)m.Seconds, m.Work.Batching))],
            precision => limits.LeastSeconds(cost, precision));
    }

    /// <summary>A shape on an engine, and the seconds of one run, round by round.</summary>
    private sealed record Measured(Shape Shape, EngineSpec Spec, IWork Work, List<double> Seconds);
}
