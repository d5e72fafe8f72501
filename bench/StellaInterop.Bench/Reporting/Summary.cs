using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Reporting;

/// <summary>Computes the figures of a shape from measured times.</summary>
internal static class Summary
{
    /// <summary>Computes the figures of a shape.</summary>
    /// <param name="shape">The shape.</param>
    /// <param name="times">The seconds of each round and the batches, by engine.</param>
    /// <param name="minSeconds">Returns the shortest possible time in a precision; null if unknown.</param>
    public static ShapeReport Of(
        Shape shape,
        IReadOnlyList<(EngineSpec Engine, IReadOnlyList<double> Seconds, string Batching)> times,
        Func<StellaPrecision, double?> minSeconds)
    {
        var results = new List<ShapeResult>();
        foreach (var (engine, seconds, batching) in times)
        {
            var peer = times
                .Where(other => engine.Peers.Contains(other.Engine.Name))
                .OrderBy(other => Statistics.Median(other.Seconds))
                .Select(other => (other.Engine.Name, Ratio: Statistics.Median([.. seconds.Zip(other.Seconds, (own, others) => others / own)])))
                .Cast<(string Name, double Ratio)?>()
                .FirstOrDefault();
            results.Add(new ShapeResult(
                engine.Name,
                seconds,
                batching,
                shape.Tokens / Statistics.Median(seconds),
                shape.Tokens / seconds.Max(),
                shape.Tokens / seconds.Min(),
                peer?.Name,
                peer?.Ratio,
                minSeconds(engine.Precision) / Statistics.Median(seconds)));
        }

        return new ShapeReport(shape.Name, shape.Lengths.Count, shape.Tokens, results);
    }
}
