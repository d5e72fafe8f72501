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

    /// <summary>Returns the smallest number that at least a fraction of the numbers does not exceed; NaN for an empty list.</summary>
    public static double Percentile(IReadOnlyList<double> numbers, double fraction)
    {
        double[] sorted = [.. numbers.Order()];
        return sorted.Length == 0 ? double.NaN : sorted[Math.Max(0, (int)Math.Ceiling(fraction * sorted.Length) - 1)];
    }
}
