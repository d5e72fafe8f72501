namespace StellaInterop.Bench.Measuring;

/// <summary>What the middle of some numbers is.</summary>
internal static class Samples
{
    /// <summary>The number in the middle, or the mean of the two that are.</summary>
    public static double Median(IReadOnlyList<double> numbers)
    {
        double[] sorted = [.. numbers.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
