namespace StellaInterop.Bench.Sources;

/// <summary>A query and its one relevant document.</summary>
internal sealed record Pair(string Query, string Document);
