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
