namespace StellaInterop.Memory;

/// <summary>One of the limits that a process lives under.</summary>
/// <param name="Name">Where it stands.</param>
/// <param name="Bytes">What it says.</param>
/// <param name="Headroom">What of it is kept free.</param>
/// <param name="Others">What others that live under the same limit hold, without what the system can drop.</param>
internal sealed record MemoryLimit(string Name, long Bytes, long Headroom, long Others)
{
    /// <summary>What this process may have in all.</summary>
    public long Left => Saturating.Subtract(Saturating.Subtract(Bytes, Headroom), Others);
}

/// <summary>What the system says at one moment.</summary>
/// <param name="Timestamp">When.</param>
/// <param name="Measured">Anonymous memory of this process.</param>
/// <param name="Tightest">The limit that leaves the least.</param>
/// <param name="NotUnderstood">Files that hold something else than a limit, and so limit nothing.</param>
internal sealed record MemoryReading(long Timestamp, long Measured, MemoryLimit Tightest, IReadOnlyList<string> NotUnderstood)
{
    /// <summary>The tightest limit, and what could not be read beside it.</summary>
    public string LimitSource => NotUnderstood.Count == 0
        ? Tightest.Name
        : $"{Tightest.Name} (not understood: {string.Join(", ", NotUnderstood)})";
}
