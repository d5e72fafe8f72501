using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Runs;

/// <summary>Settings of a <c>peers</c> run.</summary>
/// <param name="Model">Name of the model.</param>
/// <param name="Folder">The model folder.</param>
/// <param name="Shapes">Shapes to measure: texts and tokens of one call.</param>
/// <param name="Engines">Engines to measure.</param>
/// <param name="Threads">Threads of each engine.</param>
/// <param name="Rounds">Number of rounds.</param>
internal sealed record PeersSettings(
    string Model, string Folder, IReadOnlyList<Shape> Shapes, IReadOnlyList<EngineSpec> Engines, int Threads, int Rounds);
