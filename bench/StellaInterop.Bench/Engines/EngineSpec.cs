namespace StellaInterop.Bench.Engines;

/// <summary>What engines are loaded from and with.</summary>
/// <param name="Folder">The model folder.</param>
/// <param name="Threads">Threads that each computes with.</param>
internal sealed record EngineSettings(string Folder, int Threads);

/// <summary>The engine cannot run this model, or not in this precision. That is no fault of the run.</summary>
internal sealed class EngineUnavailableException(string reason) : Exception(reason);

/// <summary>An engine that can be measured.</summary>
/// <param name="Name">Its name on the command line and in the tables.</param>
/// <param name="Precision">What it computes in.</param>
/// <param name="Peers">The engines that its speed is held against; none for a peer.</param>
/// <param name="Load">Loads it.</param>
internal sealed record EngineSpec(string Name, StellaPrecision Precision, string[] Peers, Func<EngineSettings, IEngine> Load)
{
    /// <summary>All engines, in the order in which they run within a round.</summary>
    public static IReadOnlyList<EngineSpec> All { get; } =
    [
        new("ours-f32", StellaPrecision.Float32, ["ort-f32", "candle"], settings => StellaEngine.Load(settings, StellaPrecision.Float32)),
        new("ort-f32", StellaPrecision.Float32, [], settings => OnnxEngine.Load(settings, "model.onnx")),
        new("candle", StellaPrecision.Float32, [], StellaEngine.LoadReference),
        // No peer multiplies bfloat16 on a CPU: it is held against those in f32.
        new("ours-bf16", StellaPrecision.BFloat16, ["ort-f32", "candle"], settings => StellaEngine.Load(settings, StellaPrecision.BFloat16)),
        new("ours-int8", StellaPrecision.Int8, ["ort-int8"], settings => StellaEngine.Load(settings, StellaPrecision.Int8)),
        new("ort-int8", StellaPrecision.Int8, [], settings => OnnxEngine.Load(settings, "model_int8.onnx")),
    ];

    /// <summary>Reads engines that are separated by commas.</summary>
    /// <exception cref="FormatException">One is not known; the message lists those that are.</exception>
    public static IReadOnlyList<EngineSpec> ParseList(string list) =>
    [
        .. list.Split(',', StringSplitOptions.TrimEntries).Distinct().Select(name =>
            All.FirstOrDefault(spec => spec.Name == name)
            ?? throw new FormatException($"'{name}' is no engine; the engines are {string.Join(", ", All.Select(spec => spec.Name))}.")),
    ];
}
