using StellaInterop.Bench.Files;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Reporting;

/// <summary>The measurements of all rounds with one form of input, and their verdict.</summary>
/// <param name="rows">The number of rows of the input.</param>
/// <param name="costs">The cost of the job in each round.</param>
/// <param name="pools">The cost of the pool in each round; none if it was not measured.</param>
/// <param name="ids">The ids of each round.</param>
internal sealed class BulkSummary(int rows, IReadOnlyList<BulkCost> costs, IReadOnlyList<BulkCost> pools, IReadOnlyList<PartIds> ids)
{
    /// <summary>The least throughput of a job, as a share of the pool's.</summary>
    public const double MinShare = 0.90;

    /// <summary>The most resident memory of a job.</summary>
    public const long MaxPeakBytes = 600_000_000;

    public double RowsPerSecond => rows / Statistics.Median([.. costs.Select(cost => cost.Seconds)]);

    public double ProcessorMicroseconds => Statistics.Median([.. costs.Select(cost => cost.ProcessorSeconds)]) * 1e6 / rows;

    public double StartSeconds => Statistics.Median([.. costs.Select(cost => cost.StartSeconds)]);

    public long PeakBytes => costs.Max(cost => cost.PeakBytes);

    public double TokensPerRow => (double)costs[0].Tokens / rows;

    public bool HasAllIds => ids.All(round => round.AreComplete(rows));

    /// <summary>Gets the throughput of the job as a share of the pool's, both measured in the same round, for each round.</summary>
    public IReadOnlyList<double> Shares => [.. pools.Zip(costs, (pool, cost) => pool.Seconds / cost.Seconds)];

    /// <summary>Gets the same for the processor time, which the load of other processes disturbs less.</summary>
    public IReadOnlyList<double> ProcessorShares => [.. pools.Zip(costs, (pool, cost) => pool.ProcessorSeconds / cost.ProcessorSeconds)];

    /// <summary>Gets the limits that the measurements exceed.</summary>
    public IEnumerable<string> Failures()
    {
        if (pools.Count > 0 && Statistics.Median(Shares) < MinShare)
        {
            yield return $"the throughput is {Statistics.Median(Shares):0.0 %} of the pool's, and the limit is {MinShare:0 %}";
        }

        if (PeakBytes > MaxPeakBytes)
        {
            yield return $"the peak is {PeakBytes / 1e6:F0} MB, and the limit is {MaxPeakBytes / 1e6:F0} MB";
        }

        foreach (PartIds round in ids.Where(round => !round.AreComplete(rows)))
        {
            yield return $"the output has {round.Count} rows and {round.Distinct} of the ids, and the input has {rows}";
        }
    }
}
