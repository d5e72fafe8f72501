using System.Diagnostics;
using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bench.Sources;
using StellaInterop.Bench.Synthetic;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Runs;

/// <summary>Measures engines in turn in one process (A B A B), so that disturbances of the machine affect all engines alike.</summary>
internal sealed class PeersRun : IDisposable
{
    /// <summary>Minimum time of a measurement. Shorter calls are repeated until it has passed.</summary>
    private static readonly TimeSpan MinDuration = TimeSpan.FromSeconds(0.3);

    /// <summary>Texts for comparing the engines with each other if the model has no reference vectors.</summary>
    private static readonly Shape Comparison = new("texts of different lengths", [5, 16, 33, 100]);

    private readonly PeersSettings settings;
    private readonly Action<string> log;
    private readonly List<(EngineSpec Spec, IEngine Engine)> engines = [];
    private readonly List<EngineReport> reports = [];
    private readonly List<Measured> prepared = [];

    public PeersRun(PeersSettings settings, Action<string> log)
    {
        this.settings = settings;
        this.log = log;
    }

    /// <summary>Checks the vectors of all engines, then measures them.</summary>
    /// <exception cref="BenchException">The vectors of an engine are outside the tolerance.</exception>
    public PeersReport Run(CancellationToken cancellationToken)
    {
        DateTimeOffset date = DateTimeOffset.UtcNow;
        log("Measuring the limits of the machine.");
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

    /// <summary>Tokenizes the texts for all engines with this library's tokenizer, because the peers have none.</summary>
    private (StellaModelInfo Info, Workload Comparison, IReadOnlyList<Workload> Workloads) MakeTexts()
    {
        using StellaModel model = StellaModel.Load(settings.Folder);
        foreach (GoldenText golden in Golden())
        {
            if (!model.Tokenize(golden.Text, new StellaEmbedOptions { Prompt = golden.Prompt }).Ids.Span.SequenceEqual(golden.Ids))
            {
                throw new BenchException($"The token ids of {golden.Name} differ from the reference. Check the tokenizer of {settings.Folder}.");
            }
        }

        var texts = new WordTexts(model, settings.Folder);
        return (model.Info, texts.Make(Comparison), [.. settings.Shapes.Select(texts.Make)]);
    }

    /// <summary>Returns the texts with reference vectors; none for a model other than the synthetic one.</summary>
    private IReadOnlyList<GoldenText> Golden() =>
        settings.Model == SyntheticModel.Name ? GoldenText.Read(SourceTree.Golden(SyntheticModel.Name)) : [];

    private void Load(CancellationToken cancellationToken)
    {
        var engineSettings = new EngineSettings(settings.Folder, settings.Threads);
        foreach (EngineSpec spec in settings.Engines)
        {
            cancellationToken.ThrowIfCancellationRequested();
            log($"Loading {spec.Name}.");
            try
            {
                IEngine engine = spec.Load(engineSettings);
                engines.Add((spec, engine));
                LoadCost cost = ResidentRun.RunInNewProcess(spec, engineSettings, cancellationToken);
                reports.Add(new EngineReport(spec.Name, spec.Precision, null, engine.Detail, cost.Seconds, cost.Resident));
            }
            catch (EngineUnavailableException e)
            {
                log($"{spec.Name} is not available: {e.Message}");
                reports.Add(new EngineReport(spec.Name, spec.Precision, Unavailable: e.Message));
            }
        }
    }

    /// <summary>Compares the vectors of every engine with the float64 reference, or with the first f32 engine if there is no reference.</summary>
    private void Compare(Workload comparison, CancellationToken cancellationToken)
    {
        IReadOnlyList<GoldenText> golden = Golden();
        var expected = new List<(Workload Workload, float[][] Vectors)>();
        if (golden.Count > 0)
        {
            // Each text alone, then all texts without a prompt in one call: padding must not change the vectors.
            GoldenText[] plain = [.. golden.Where(text => text.Prompt == StellaPrompt.Document)];
            expected.AddRange(golden.Select(text => (text.AsWorkload(), new[] { VectorOf(text) })));
            expected.Add((
                new Workload("all texts in one call", [.. plain.Select(text => text.Text)], [.. plain.Select(text => text.Ids)]),
                [.. plain.Select(VectorOf)]));
        }
        else if (engines.FirstOrDefault(engine => engine.Spec.Precision == StellaPrecision.Float32).Engine is { } reference)
        {
            expected.Add((comparison, Embed(reference, comparison, cancellationToken)));
        }

        foreach (var (spec, engine) in engines)
        {
            log($"Comparing the vectors of {spec.Name}.");
            Tolerance tolerance = Tolerance.Of(spec.Precision, randomWeights: golden.Count > 0);
            Difference worst = Difference.None;
            foreach (var (workload, vectors) in expected)
            {
                Difference difference = Embed(engine, workload, cancellationToken).Zip(vectors, (actual, reference) => Difference.Between(actual, reference))
                    .Aggregate(Difference.None, (left, right) => left.WorseOf(right));
                if (!tolerance.Accepts(difference))
                {
                    throw new BenchException(
                        $"The vectors of {spec.Name} differ from the reference for {workload.Name}: cosine {difference.Cosine:F7}, largest "
                        + $"difference {difference.Largest:G2}; the limit is {tolerance}.");
                }

                worst = worst.WorseOf(difference);
            }

            int report = reports.FindIndex(report => report.Name == spec.Name);
            reports[report] = reports[report] with { Difference = worst };
        }

        static float[] VectorOf(GoldenText text) => text.Vectors.Single().Value;
    }

    private static float[][] Embed(IEngine engine, Workload workload, CancellationToken cancellationToken)
    {
        using IPreparedWorkload work = engine.Prepare(workload);
        work.Run(cancellationToken);
        return [.. Enumerable.Range(0, workload.Texts.Length).Select(text => work.Vector(text).ToArray())];
    }

    private void Prepare(IReadOnlyList<Workload> workloads, CancellationToken cancellationToken)
    {
        foreach (var (shape, workload) in settings.Shapes.Zip(workloads))
        {
            foreach (var (spec, engine) in engines)
            {
                log($"Warming up {spec.Name} for {shape.Name}.");
                IPreparedWorkload work = shape.IsUniform
                    ? engine.Prepare(workload)
                    : engine.PrepareFastest(workload, note => log($"{shape.Name}, {spec.Name}, {note}"), cancellationToken);
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
                ProcessIdle.Wait(cancellationToken);
                seconds.Add(SecondsPerRun(work, cancellationToken));
                log($"Round {round} of {settings.Rounds}, {shape.Name}: {spec.Name} {shape.Tokens / seconds[^1]:F0} tokens/s.");
            }
        }
    }

    /// <summary>
    /// Returns the mean seconds of one call, after one untimed call. The first call after other engines may be slow, because it has
    /// to fetch its memory again. If it took longer than <see cref="MinDuration"/>, it would be the only timed call.
    /// </summary>
    private static double SecondsPerRun(IPreparedWorkload work, CancellationToken cancellationToken)
    {
        work.Run(cancellationToken);
        int runs = 0;
        var clock = Stopwatch.StartNew();
        do
        {
            work.Run(cancellationToken);
            runs++;
        }
        while (clock.Elapsed < MinDuration);

        return clock.Elapsed.TotalSeconds / runs;
    }

    private ShapeReport Summarize(Shape shape, StellaModelInfo info, HardwareLimits limits)
    {
        Cost cost = Cost.Of(info, shape.Lengths);
        return Summary.Of(
            shape,
            [.. prepared.Where(measured => measured.Shape == shape).Select(m => (m.Spec, (IReadOnlyList<double>)m.Seconds, m.Work.Batching))],
            precision => limits.MinSeconds(cost, precision));
    }

    /// <summary>A shape on an engine, with the seconds of one call in each round.</summary>
    private sealed record Measured(Shape Shape, EngineSpec Spec, IPreparedWorkload Work, List<double> Seconds);
}
