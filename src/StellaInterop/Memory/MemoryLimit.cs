namespace StellaInterop.Memory;

/// <summary>Represents one of the memory limits of this process.</summary>
/// <param name="Source">The file or option that sets the limit.</param>
/// <param name="Bytes">The limit.</param>
/// <param name="Headroom">The bytes of the limit that are kept free.</param>
/// <param name="UsedByOthers">The bytes that other processes under the same limit use, without memory that the system can reclaim.</param>
internal sealed record MemoryLimit(string Source, long Bytes, long Headroom, long UsedByOthers)
{
    /// <summary>Gets the bytes that this process may use in all.</summary>
    public long Usable => Saturating.Subtract(Saturating.Subtract(Bytes, Headroom), UsedByOthers);
}

/// <summary>Represents the limits and the memory of the process at one moment.</summary>
/// <param name="Timestamp">The time of the reading.</param>
/// <param name="Measured">The anonymous memory of this process in bytes.</param>
/// <param name="Tightest">The limit with the fewest usable bytes.</param>
/// <param name="UnparsedFiles">The files that should hold a limit and could not be parsed. They set no limit.</param>
internal sealed record MemoryReading(long Timestamp, long Measured, MemoryLimit Tightest, IReadOnlyList<string> UnparsedFiles)
{
    /// <summary>Gets the source of the tightest limit, and the files that could not be parsed.</summary>
    public string LimitSource => UnparsedFiles.Count == 0
        ? Tightest.Source
        : $"{Tightest.Source} (not understood: {string.Join(", ", UnparsedFiles)})";
}
