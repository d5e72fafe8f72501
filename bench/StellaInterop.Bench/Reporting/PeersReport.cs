using System.Text.Json;
using System.Text.Json.Serialization;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Reporting;

/// <summary>The results of a <c>peers</c> run, for tables, charts and JSON.</summary>
/// <param name="Date">Start of the run.</param>
/// <param name="Command">The command-line arguments.</param>
/// <param name="Machine">The machine of the run.</param>
/// <param name="Limits">The measured limits of the machine.</param>
/// <param name="Model">The model.</param>
/// <param name="Parameters">Number of parameters of the model.</param>
/// <param name="Threads">Threads of each engine.</param>
/// <param name="Rounds">Number of rounds.</param>
/// <param name="OthersShare">Share of the machine that other processes took during the run; null if unknown.</param>
/// <param name="Engines">The engines, including unavailable ones.</param>
/// <param name="Shapes">The figures by shape.</param>
internal sealed record PeersReport(
    DateTimeOffset Date,
    string Command,
    MachineInfo Machine,
    HardwareLimits Limits,
    string Model,
    long Parameters,
    int Threads,
    int Rounds,
    double? OthersShare,
    IReadOnlyList<EngineReport> Engines,
    IReadOnlyList<ShapeReport> Shapes)
{
    private static readonly JsonSerializerOptions Format = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    public void WriteJson(string file) => File.WriteAllText(file, JsonSerializer.Serialize(this, Format) + "\n");
}

/// <summary>The properties of an engine, without its speed.</summary>
/// <param name="Name">Name of the engine.</param>
/// <param name="Precision">Precision of its computation.</param>
/// <param name="Unavailable">The reason why it was not measured; null if it was.</param>
/// <param name="Detail">Library, version, encoder and instruction set.</param>
/// <param name="LoadSeconds">Time to load, in a separate process.</param>
/// <param name="Resident">Memory in use there after loading and a first text.</param>
/// <param name="Difference">Largest difference of its vectors from the reference.</param>
internal sealed record EngineReport(
    string Name,
    StellaPrecision Precision,
    string? Unavailable = null,
    string? Detail = null,
    double LoadSeconds = 0,
    ResidentMemory Resident = default,
    Difference? Difference = null);

/// <summary>The figures of a shape.</summary>
internal sealed record ShapeReport(string Name, int Texts, long Tokens, IReadOnlyList<ShapeResult> Results);

/// <summary>The figures of an engine on a shape.</summary>
/// <param name="Engine">Name of the engine.</param>
/// <param name="Seconds">Seconds of one call in each round.</param>
/// <param name="Batching">Description of the batches; empty if all texts are one call.</param>
/// <param name="TokensPerSecond">Median of the rounds.</param>
/// <param name="Slowest">Tokens per second in the slowest round.</param>
/// <param name="Fastest">Tokens per second in the fastest round.</param>
/// <param name="BestPeer">Name of the fastest peer; null if it has none.</param>
/// <param name="Ratio">Speed relative to that peer: the median of the rounds' ratios.</param>
/// <param name="ShareOfLimit">Shortest possible time of the hardware, divided by the measured time.</param>
internal sealed record ShapeResult(
    string Engine,
    IReadOnlyList<double> Seconds,
    string Batching,
    double TokensPerSecond,
    double Slowest,
    double Fastest,
    string? BestPeer,
    double? Ratio,
    double? ShareOfLimit)
{
    public double MedianSeconds => Statistics.Median(Seconds);
}
