namespace StellaInterop.Soak;

/// <summary>
/// Times, counted by size and not kept: what watches memory must not grow. Neighbouring sizes differ by two percent. Whoever
/// uses it holds a lock.
/// </summary>
internal sealed class DurationHistogram
{
    private const double Smallest = 1e-7;
    private const double Step = 1.02;

    private readonly long[] counts = new long[1 + IndexOf(1e4)];

    public long Count { get; private set; }

    public void Add(double seconds)
    {
        counts[Math.Min(IndexOf(seconds), counts.Length - 1)]++;
        Count++;
    }

    public void Clear()
    {
        Array.Clear(counts);
        Count = 0;
    }

    /// <summary>The time that a part of all are not above, in seconds.</summary>
    public double Percentile(double part)
    {
        long left = (long)(part * Count);
        int size = Array.FindIndex(counts, count => (left -= count) < 0);
        return Count == 0 ? 0 : Smallest * Math.Pow(Step, size < 0 ? counts.Length - 1 : size);
    }

    private static int IndexOf(double seconds) => (int)Math.Ceiling(Math.Log(Math.Max(seconds, Smallest) / Smallest, Step));
}
