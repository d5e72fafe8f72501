namespace StellaInterop.Bench.Measuring;

/// <summary>The cost of loading an engine.</summary>
/// <param name="Seconds">Time to load.</param>
/// <param name="Resident">Memory that is still in use after a first text.</param>
internal readonly record struct LoadCost(double Seconds, ResidentMemory Resident);
