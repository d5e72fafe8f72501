using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Engines;

/// <summary>This library, by its public surface: a run goes from texts to vectors, tokenizing and packing included.</summary>
internal sealed class StellaEngine : IEngine
{
    private readonly StellaModel model;

    private StellaEngine(string folder, StellaModelOptions options)
    {
        try
        {
            model = StellaModel.Load(folder, options);
        }
        catch (StellaOptionException e)
        {
            throw new EngineUnavailableException(e.Message);
        }
    }

    public string Detail
    {
        get
        {
            StellaModelInfo info = model.Info;
            // Candle chooses its instructions by itself, and does not tell.
            string encoder = info.Encoder == StellaEncoder.Kernels ? $"{info.Encoder}, {info.CpuLevel}" : $"{info.Encoder}";
            return $"StellaInterop {typeof(StellaModel).Assembly.GetName().Version?.ToString(3)}, {encoder}, {info.Precision}";
        }
    }

    public static IEngine Load(EngineSettings settings, StellaPrecision precision) =>
        new StellaEngine(settings.Folder, Options(settings, precision));

    /// <summary>Candle's own encoder: a peer, and the reference. This is the one place that asks for it.</summary>
    public static IEngine LoadReference(EngineSettings settings) =>
        new StellaEngine(settings.Folder, Options(settings, StellaPrecision.Float32) with { Encoder = StellaEncoder.Candle });

    public IWork Prepare(Workload workload) => new Work(model, workload);

    /// <summary>The library batches by itself.</summary>
    public IWork PrepareBest(Workload workload, Action<string> say, CancellationToken cancellationToken) => Prepare(workload);

    public void Dispose() => model.Dispose();

    private static StellaModelOptions Options(EngineSettings settings, StellaPrecision precision) =>
        new() { Precision = precision, Threads = settings.Threads };

    private sealed class Work(StellaModel model, Workload workload) : IWork
    {
        private readonly StellaEmbedOptions options = new() { Prompt = workload.Prompt, Normalize = false };
        private readonly float[] vectors = new float[workload.Texts.Length * model.Info.DefaultDimension];

        public string Batching => string.Empty;

        public void Run(CancellationToken cancellationToken) => model.Embed(workload.Texts, vectors, options, cancellationToken);

        public ReadOnlySpan<float> Vector(int text) =>
            vectors.AsSpan(text * model.Info.DefaultDimension, model.Info.DefaultDimension);

        public void Dispose()
        {
        }
    }
}
