using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Engines;

/// <summary>This library through its public API. A run turns texts into vectors and includes tokenizing and packing.</summary>
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
            // Candle selects its instruction set itself and does not report it.
            string encoder = info.Encoder == StellaEncoder.Kernels ? $"{info.Encoder}, {info.CpuLevel}" : $"{info.Encoder}";
            return $"StellaInterop {typeof(StellaModel).Assembly.GetName().Version?.ToString(3)}, {encoder}, {info.Precision}";
        }
    }

    public static IEngine Load(EngineSettings settings, StellaPrecision precision) =>
        new StellaEngine(settings.Folder, Options(settings, precision));

    /// <summary>Loads candle's own encoder, which is a peer and a reference. Nothing else in the benchmarks uses it.</summary>
    public static IEngine LoadReference(EngineSettings settings) =>
        new StellaEngine(settings.Folder, Options(settings, StellaPrecision.Float32) with { Encoder = StellaEncoder.Candle });

    public IPreparedWorkload Prepare(Workload workload) => new PreparedWorkload(model, workload);

    /// <summary>The library plans its batches itself, so this is the same as <see cref="Prepare"/>.</summary>
    public IPreparedWorkload PrepareFastest(Workload workload, Action<string> log, CancellationToken cancellationToken) => Prepare(workload);

    public void Dispose() => model.Dispose();

    private static StellaModelOptions Options(EngineSettings settings, StellaPrecision precision) =>
        new() { Precision = precision, Threads = settings.Threads };

    private sealed class PreparedWorkload(StellaModel model, Workload workload) : IPreparedWorkload
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
