namespace StellaInterop.Bench.Reporting;

/// <summary>The figures of a shape.</summary>
internal sealed record ShapeReport(string Name, int Texts, long Tokens, IReadOnlyList<ShapeResult> Results);
