namespace StellaInterop.Bench;

/// <summary>Why a run ends without figures: they would mean nothing.</summary>
internal sealed class BenchException(string message) : Exception(message);
