namespace StellaInterop.Bench.Measuring;

/// <summary>Statistics of small samples.</summary>
internal static class Statistics
{
    /// <summary>Returns the median: the middle number, or the mean of the two middle numbers.</summary>
    public static double Median(IReadOnlyList<double> numbers)
    {
        double[] sorted = [.. numbers.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
