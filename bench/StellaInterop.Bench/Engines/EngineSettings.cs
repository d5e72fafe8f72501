namespace StellaInterop.Bench.Engines;

/// <summary>Settings for loading an engine.</summary>
/// <param name="Folder">The model folder.</param>
/// <param name="Threads">Number of compute threads.</param>
internal sealed record EngineSettings(string Folder, int Threads);
