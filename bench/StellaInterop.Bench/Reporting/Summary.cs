using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Reporting;

/// <summary>Makes figures of times.</summary>
internal static class Summary
{
    /// <summary>The figures of a shape.</summary>
    /// <param name="shape">The shape.</param>
    /// <param name="times">Seconds of each round by engine, and how it batched.</param>
    /// <param name="leastSeconds">The least time that the hardware needs in a precision, where that is known.</param>
    public static ShapeReport Of(
        Shape shape,
        IReadOnlyList<(EngineSpec Engine, IReadOnlyList<double> Seconds, string Batching)> times,
        Func<StellaPrecision, double?> leastSeconds)
    {
        var results = new List<ShapeResult>();
        foreach (var (engine, seconds, batching) in times)
        {
            var peer = times
                .Where(other => engine.Peers.Contains(other.Engine.Name))
                .OrderBy(other => Samples.Median(other.Seconds))
                .Select(other => (other.Engine.Name, Ratio: Samples.Median([.. seconds.Zip(other.Seconds, (own, others) => others / own)])))
                .Cast<(string Name, double Ratio)?>()
                .FirstOrDefault();
            results.Add(new ShapeResult(
                engine.Name,
                seconds,
                batching,
                shape.Tokens / Samples.Median(seconds),
                shape.Tokens / seconds.Max(),
                shape.Tokens / seconds.Min(),
                peer?.Name,
                peer?.Ratio,
                leastSeconds(engine.Precision) / Samples.Median(seconds)));
        }

        return new ShapeReport(shape.Name, shape.Lengths.Count, shape.Tokens, results);
    }
}
