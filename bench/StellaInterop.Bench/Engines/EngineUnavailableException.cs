namespace StellaInterop.Bench.Engines;

/// <summary>The engine cannot run this model in this precision. The run continues with the other engines.</summary>
internal sealed class EngineUnavailableException(string reason) : Exception(reason);
