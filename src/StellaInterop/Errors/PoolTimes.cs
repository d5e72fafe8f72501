namespace StellaInterop;

/// <summary>The ranges of times.</summary>
internal static class PoolTimes
{
    /// <summary>The longest that a timer takes: as good as no limit.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromDays(49);

    /// <summary>
    /// The longest time of an option. A bare number in configuration is a number of days in .NET, whoever wrote it and whatever reads it, so
    /// options of a day and more are refused: nobody means them.
    /// </summary>
    public static readonly TimeSpan LongestOption = new(23, 59, 59);

    /// <summary>The range of an option in words, as the end of a sentence.</summary>
    public static string Range(bool zero) =>
        $"{(zero ? "0" : "above 0")} to {LongestOption:c}, as hours:minutes:seconds. In configuration a bare number means days: write 00:00:05 for 5 seconds.";
}
