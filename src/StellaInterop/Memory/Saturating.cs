namespace StellaInterop.Memory;

/// <summary>
/// Computes with byte counts that are not negative. Results saturate: they stop at 0 and at the largest number, and never wrap.
/// </summary>
internal static class Saturating
{
    public static long Add(long a, long b) => a > long.MaxValue - b ? long.MaxValue : a + b;

    public static long Subtract(long a, long b) => a > b ? a - b : 0;

    public static long Multiply(long a, long b) => b != 0 && a > long.MaxValue / b ? long.MaxValue : a * b;

    public static long Sum<T>(IEnumerable<T> items, Func<T, long> bytes) =>
        items.Aggregate(0L, (sum, item) => Add(sum, bytes(item)));
}
