namespace StellaInterop.Bench.Terminal;

/// <summary>Ends a run whose figures would be meaningless. The message says why.</summary>
internal sealed class BenchException(string message) : Exception(message);
