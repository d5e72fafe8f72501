namespace StellaInterop.Pooling;

/// <summary>The range of times that timers take.</summary>
internal static class PoolTimes
{
    public static readonly TimeSpan Longest = TimeSpan.FromDays(49);

    /// <exception cref="ArgumentOutOfRangeException">A time is given that is not above zero, or longer than a timer can be.</exception>
    public static void ThrowIfNotPositive(TimeSpan? time, string name)
    {
        if (time is { } given && (given <= TimeSpan.Zero || given > Longest))
        {
            throw new ArgumentOutOfRangeException(name, given, $"{name} must be above zero and at most {Longest.TotalDays} days.");
        }
    }
}
