namespace StellaInterop.Soak.Memory;

/// <summary>The growth of one kind of memory.</summary>
/// <param name="Kind">Name of the kind.</param>
/// <param name="PerMinute">Bytes per minute.</param>
internal readonly record struct MemoryGrowth(string Kind, double PerMinute)
{
    public bool IsLeak => PerMinute >= MemoryTrend.LeakPerMinute;
}
