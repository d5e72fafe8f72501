namespace StellaInterop.Soak.Memory;

/// <summary>
/// Tells a leak from a plateau: a leak grows between nearly all samples to the end, and a plateau grows between few of them, by
/// however much.
/// </summary>
/// <remarks>
/// The first third of the samples is warm-up. The rate of the rest is the slope that two of three intervals between samples reach.
/// A step up or down changes one interval, so that steps do not hide a leak, and growth that ends before the last third of the time
/// has no rate.
/// </remarks>
internal sealed class MemoryTrend
{
    /// <summary>Growth in bytes a minute that counts as a leak.</summary>
    public const double LeakPerMinute = 0.5e6;

    /// <summary>Growth in bytes, from the warm-up to the end, below which no rate counts.</summary>
    private const double MinGrowth = 100e3;

    /// <summary>Fewer samples after the warm-up have no trend.</summary>
    private const int MinSamples = 8;

    /// <summary>The part of all intervals that may be slower than the rate of a leak.</summary>
    private const double Slower = 1 / 3.0;

    /// <summary>Pages of heaps beside live blocks are other pages after each load. They move by some megabytes.</summary>
    private const double MinPageGrowth = 8e6;

    /// <summary>The intervals for pages: a part of the time, in which a leak is larger than that movement.</summary>
    private const int PartsOfLongIntervals = 5;

    private static readonly Kind[] Kinds =
    [
        new("live managed objects", sample => sample.Managed),
        new("live blocks of the C library", sample => sample.Malloc),
        new("bytes of the native library", sample => sample.Native),
        new("bytes of other mappings", sample => sample.Mapped),
        new("resident pages", sample => sample.Resident) { IsExact = false },
    ];

    private readonly List<MemorySample> samples = [];

    /// <summary>Gets the samples in the order of time.</summary>
    public IReadOnlyList<MemorySample> Samples => samples;

    public void Add(MemorySample sample) => samples.Add(sample);

    /// <summary>Returns the kind of memory that grows fastest; <see langword="null"/> for too few samples.</summary>
    public MemoryGrowth? Fastest()
    {
        MemorySample[] settled = [.. samples.Skip(samples.Count / 3)];
        return settled.Length < MinSamples ? null : Kinds.Select(kind => GrowthOf(settled, kind)).MaxBy(growth => growth.PerMinute);
    }

    private static MemoryGrowth GrowthOf(MemorySample[] settled, Kind kind)
    {
        double rate = SlopeOf(settled, kind.Of, kind.IsExact ? 1 : settled.Length / PartsOfLongIntervals);
        double growth = rate * (settled[^1].Seconds - settled[0].Seconds);
        return new MemoryGrowth(kind.Name, growth < (kind.IsExact ? MinGrowth : MinPageGrowth) ? 0 : 60 * rate);
    }

    /// <summary>Returns the slope that two of three intervals reach.</summary>
    /// <param name="settled">The samples.</param>
    /// <param name="size">The size of the memory in a sample.</param>
    /// <param name="steps">Length of an interval in samples.</param>
    private static double SlopeOf(MemorySample[] settled, Func<MemorySample, double> size, int steps)
    {
        double[] slopes =
        [
            .. Enumerable.Range(0, settled.Length - steps)
                .Select(i => (size(settled[i + steps]) - size(settled[i])) / (settled[i + steps].Seconds - settled[i].Seconds))
                .Order(),
        ];
        return slopes[(int)(slopes.Length * Slower)];
    }

    /// <param name="Name">Its name in a broken promise.</param>
    /// <param name="Of">Reads its bytes from a sample.</param>
    private sealed record Kind(string Name, Func<MemorySample, double> Of)
    {
        /// <summary>Whether every byte is counted, as opposed to pages that happen to be resident.</summary>
        public bool IsExact { get; init; } = true;
    }
}

/// <summary>The growth of one kind of memory.</summary>
/// <param name="Kind">Its name.</param>
/// <param name="PerMinute">Bytes a minute.</param>
internal readonly record struct MemoryGrowth(string Kind, double PerMinute)
{
    public bool IsLeak => PerMinute >= MemoryTrend.LeakPerMinute;
}
