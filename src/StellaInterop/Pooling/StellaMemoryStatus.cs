namespace StellaInterop;

/// <summary>What a <see cref="StellaMemoryGovernor"/> has given away and has left. Bytes throughout; none is negative.</summary>
public sealed record StellaMemoryStatus
{
    internal StellaMemoryStatus()
    {
    }

    /// <summary>
    /// What this process may use in all: the tightest limit, less what is kept free of it and what others use of it. It
    /// moves with what others use.
    /// </summary>
    public required long LimitBytes { get; init; }

    /// <summary>
    /// Where the tightest limit stands, such as <c>/sys/fs/cgroup/app.slice/memory.max</c>,
    /// <c>MemAvailable of /proc/meminfo</c> or <c>LimitBytes of the options</c>. Files that should hold a limit and hold
    /// something else are named behind it.
    /// </summary>
    public required string LimitedBy { get; init; }

    /// <summary>The sum of <see cref="Owners"/>.</summary>
    public required long ReservedBytes { get; init; }

    /// <summary>
    /// What the process has in memory without mapped files: <c>RssAnon</c>, or the working set where the system does not
    /// tell it apart.
    /// </summary>
    public required long MeasuredBytes { get; init; }

    /// <summary>What a reservation could get now, before anything idle is let go of.</summary>
    public required long AvailableBytes { get; init; }

    /// <summary>Who has reserved how much, the largest first.</summary>
    public required IReadOnlyList<StellaMemoryOwner> Owners { get; init; }
}

/// <summary>One who has reserved memory.</summary>
/// <param name="Name">The name.</param>
/// <param name="Bytes">All of its reservations.</param>
public sealed record StellaMemoryOwner(string Name, long Bytes);
