namespace StellaInterop.Bench.Engines;

/// <summary>An engine that <c>peers</c> can measure.</summary>
/// <param name="Name">Name on the command line and in the tables.</param>
/// <param name="Precision">Precision of its computation.</param>
/// <param name="Peers">Names of the engines that its speed is compared with; empty for a peer.</param>
/// <param name="Load">Loads the engine.</param>
internal sealed record EngineSpec(string Name, StellaPrecision Precision, string[] Peers, Func<EngineSettings, IEngine> Load)
{
    /// <summary>Gets all engines, in the order in which they run within a round.</summary>
    public static IReadOnlyList<EngineSpec> All { get; } =
    [
        new("ours-f32", StellaPrecision.Float32, ["ort-f32", "candle"], settings => StellaEngine.Load(settings, StellaPrecision.Float32)),
        new("ort-f32", StellaPrecision.Float32, [], settings => OnnxEngine.Load(settings, "model.onnx")),
        new("candle", StellaPrecision.Float32, [], StellaEngine.LoadReference),
        // None of the peers here computes in bfloat16, so the f32 peers are the comparison. PyTorch on oneDNN computes in bfloat16
        // on a CPU; bench/README.md compares with it.
        new("ours-bf16", StellaPrecision.BFloat16, ["ort-f32", "candle"], settings => StellaEngine.Load(settings, StellaPrecision.BFloat16)),
        new("ours-int8", StellaPrecision.Int8, ["ort-int8"], settings => StellaEngine.Load(settings, StellaPrecision.Int8)),
        new("ort-int8", StellaPrecision.Int8, [], settings => OnnxEngine.Load(settings, "model_int8.onnx")),
    ];

    /// <summary>Parses a comma-separated list of engines.</summary>
    /// <exception cref="FormatException">A name is unknown. The message lists the known names.</exception>
    public static IReadOnlyList<EngineSpec> ParseList(string list) =>
    [
        .. list.Split(',', StringSplitOptions.TrimEntries).Distinct().Select(name =>
            All.FirstOrDefault(spec => spec.Name == name)
            ?? throw new FormatException($"Unknown engine '{name}'. The engines are {string.Join(", ", All.Select(spec => spec.Name))}.")),
    ];
}
