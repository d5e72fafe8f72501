using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Reporting;

/// <summary>The figures of an engine on a shape.</summary>
/// <param name="Engine">Name of the engine.</param>
/// <param name="Seconds">Seconds of one call in each round.</param>
/// <param name="Batching">Description of the batches; empty if all texts are one call.</param>
/// <param name="TokensPerSecond">Median of the rounds.</param>
/// <param name="Slowest">Tokens per second in the slowest round.</param>
/// <param name="Fastest">Tokens per second in the fastest round.</param>
/// <param name="BestPeer">Name of the fastest peer; null if it has none.</param>
/// <param name="Ratio">Speed relative to that peer: the median of the rounds' ratios.</param>
/// <param name="ShareOfLimit">Shortest possible time of the hardware, divided by the measured time.</param>
internal sealed record ShapeResult(
    string Engine,
    IReadOnlyList<double> Seconds,
    string Batching,
    double TokensPerSecond,
    double Slowest,
    double Fastest,
    string? BestPeer,
    double? Ratio,
    double? ShareOfLimit)
{
    public double MedianSeconds => Statistics.Median(Seconds);
}
