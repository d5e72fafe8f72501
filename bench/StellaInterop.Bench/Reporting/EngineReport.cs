using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Reporting;

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
