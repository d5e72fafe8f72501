namespace StellaInterop.Soak.Calls;

/// <summary>
/// A histogram of durations with constant memory, so that the measurement of memory does not grow itself. Adjacent buckets differ
/// by two percent. Not thread-safe: callers hold a lock.
/// </summary>
internal sealed class DurationHistogram
{
    private const double Smallest = 1e-7;
    private const double Step = 1.02;

    private readonly long[] counts = new long[1 + BucketOf(1e4)];

    public long Count { get; private set; }

    public void Add(double seconds)
    {
        counts[Math.Min(BucketOf(seconds), counts.Length - 1)]++;
        Count++;
    }

    public void Clear()
    {
        Array.Clear(counts);
        Count = 0;
    }

    /// <summary>Returns a percentile in seconds, given as a fraction of all durations.</summary>
    public double Percentile(double fraction)
    {
        long left = (long)(fraction * Count);
        int bucket = Array.FindIndex(counts, count => (left -= count) < 0);
        return Count == 0 ? 0 : Smallest * Math.Pow(Step, bucket < 0 ? counts.Length - 1 : bucket);
    }

    private static int BucketOf(double seconds) => (int)Math.Ceiling(Math.Log(Math.Max(seconds, Smallest) / Smallest, Step));
}
