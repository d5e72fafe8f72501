using System.Text.Json;
using System.Text.Json.Serialization;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Reporting;

/// <summary>One run beside the peers: all that is printed, drawn and written.</summary>
/// <param name="Date">When it began.</param>
/// <param name="Command">The arguments.</param>
/// <param name="Machine">Where it ran.</param>
/// <param name="Limits">What the machine can do at most.</param>
/// <param name="Model">The model.</param>
/// <param name="Parameters">Its parameters.</param>
/// <param name="Threads">Threads of each engine.</param>
/// <param name="Rounds">How often each was measured.</param>
/// <param name="OthersShare">The part of the machine that other processes took meanwhile, or null where that is not known.</param>
/// <param name="Engines">The engines, those that were not to be had among them.</param>
/// <param name="Shapes">The figures.</param>
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

/// <summary>What is to be said of an engine beside its speed.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Precision">What it computes in.</param>
/// <param name="Unavailable">Why it was not measured, or null.</param>
/// <param name="Detail">Library, version, encoder and instructions.</param>
/// <param name="LoadSeconds">Time to load, in a process of its own.</param>
/// <param name="Resident">Memory that loading and a first text took there, and that stayed.</param>
/// <param name="Difference">How far its vectors are from the reference at worst.</param>
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
/// <param name="Engine">Its name.</param>
/// <param name="Seconds">Time of one call, round by round.</param>
/// <param name="Batching">How texts of different lengths were batched, or empty.</param>
/// <param name="TokensPerSecond">The median of the rounds.</param>
/// <param name="Slowest">Tokens a second in the slowest round.</param>
/// <param name="Fastest">Tokens a second in the fastest round.</param>
/// <param name="BestPeer">The fastest of the peers that it is held against, or null.</param>
/// <param name="Ratio">How many times faster than that one it is: the median of the rounds' ratios.</param>
/// <param name="ShareOfLimit">The least time that the hardware would need, as a part of the time that it took.</param>
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
    public double MedianSeconds => Samples.Median(Seconds);
}
