namespace StellaInterop.Soak.Memory;

/// <summary>
/// Distinguishes a leak from a plateau. A leak grows in nearly all intervals between samples, until the end. A plateau grows in few
/// intervals, by any amount.
/// </summary>
/// <remarks>
/// The first third of the samples is warm-up. The rate of the rest is the slope that two thirds of the intervals reach or exceed. A
/// step up or down changes one interval only, so steps do not hide a leak. Growth that stops before the last third of the time has
/// no rate.
/// </remarks>
internal sealed class MemoryTrend
{
    /// <summary>Growth in bytes per minute that counts as a leak.</summary>
    public const double LeakPerMinute = 0.5e6;

    /// <summary>Growth in bytes after the warm-up below which the rate counts as zero.</summary>
    private const double MinGrowth = 100e3;

    /// <summary>Minimum number of samples after the warm-up.</summary>
    private const int MinSamples = 8;

    /// <summary>Fraction of the intervals that may be slower than the rate of a leak.</summary>
    private const double SlowerFraction = 1 / 3.0;

    /// <summary>The same as <see cref="MinGrowth"/> for resident pages, which vary by some megabytes between loads.</summary>
    private const double MinPageGrowth = 8e6;

    /// <summary>Number of intervals for resident pages. Each is so long that a leak exceeds that variation.</summary>
    private const int PageIntervals = 5;

    private static readonly Kind[] Kinds =
    [
        new("live managed objects", sample => sample.Managed),
        new("live blocks of the C library", sample => sample.Malloc),
        new("bytes of the native library", sample => sample.Native),
        new("bytes of other mappings", sample => sample.Mapped),
        new("resident pages", sample => sample.Resident) { IsExact = false },
    ];

    private readonly List<MemorySample> samples = [];

    /// <summary>Gets the samples in order of time.</summary>
    public IReadOnlyList<MemorySample> Samples => samples;

    public void Add(MemorySample sample) => samples.Add(sample);

    /// <summary>Returns the growth of the kind of memory that grows fastest; <see langword="null"/> if there are too few samples.</summary>
    public MemoryGrowth? Fastest()
    {
        MemorySample[] settled = [.. samples.Skip(samples.Count / 3)];
        return settled.Length < MinSamples ? null : Kinds.Select(kind => GrowthOf(settled, kind)).MaxBy(growth => growth.PerMinute);
    }

    private static MemoryGrowth GrowthOf(MemorySample[] settled, Kind kind)
    {
        double rate = SlopeOf(settled, kind.Read, kind.IsExact ? 1 : settled.Length / PageIntervals);
        double growth = rate * (settled[^1].Seconds - settled[0].Seconds);
        return new MemoryGrowth(kind.Name, growth < (kind.IsExact ? MinGrowth : MinPageGrowth) ? 0 : 60 * rate);
    }

    /// <summary>Returns the slope that two thirds of the intervals reach or exceed.</summary>
    /// <param name="settled">The samples.</param>
    /// <param name="size">Reads the size of the memory from a sample.</param>
    /// <param name="steps">Length of an interval, in samples.</param>
    private static double SlopeOf(MemorySample[] settled, Func<MemorySample, double> size, int steps)
    {
        double[] slopes =
        [
            .. Enumerable.Range(0, settled.Length - steps)
                .Select(i => (size(settled[i + steps]) - size(settled[i])) / (settled[i + steps].Seconds - settled[i].Seconds))
                .Order(),
        ];
        return slopes[(int)(slopes.Length * SlowerFraction)];
    }

    /// <param name="Name">Name in the message of a broken promise.</param>
    /// <param name="Read">Reads the bytes from a sample.</param>
    private sealed record Kind(string Name, Func<MemorySample, double> Read)
    {
        /// <summary>Gets whether every byte is counted, in contrast to pages that happen to be resident.</summary>
        public bool IsExact { get; init; } = true;
    }
}
