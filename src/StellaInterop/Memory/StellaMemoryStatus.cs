namespace StellaInterop;

/// <summary>Represents the state of a <see cref="StellaMemoryGovernor"/> at one moment. All numbers are bytes; none is negative.</summary>
public sealed record StellaMemoryStatus
{
    internal StellaMemoryStatus()
    {
    }

    /// <summary>
    /// Gets the memory that this process may use in all: the tightest limit, less the headroom that is kept free and less the memory of
    /// other processes. The value changes with the memory of other processes.
    /// </summary>
    public required long LimitBytes { get; init; }

    /// <summary>
    /// Gets the source of the tightest limit, such as <c>/sys/fs/cgroup/app.slice/memory.max</c>,
    /// <c>MemAvailable of /proc/meminfo</c> or <c>LimitBytes of the options</c>. Files that should hold a limit and cannot be read as
    /// one are named after it.
    /// </summary>
    public required string LimitSource { get; init; }

    /// <summary>Gets the sum of all reservations, which <see cref="Owners"/> lists.</summary>
    public required long ReservedBytes { get; init; }

    /// <summary>
    /// Gets the resident memory of the process without mapped files: <c>RssAnon</c>, or the working set if the system does not
    /// report it.
    /// </summary>
    public required long MeasuredBytes { get; init; }

    /// <summary>Gets the largest reservation that fits now, before an idle model is unloaded.</summary>
    public required long AvailableBytes { get; init; }

    /// <summary>Gets the owners of all reservations, the largest first.</summary>
    public required IReadOnlyList<StellaMemoryOwner> Owners { get; init; }
}

/// <summary>Represents the reservations of one owner: a model, or a worker of it.</summary>
public sealed record StellaMemoryOwner
{
    internal StellaMemoryOwner()
    {
    }

    /// <summary>Gets the name of the owner.</summary>
    public required string Name { get; init; }

    /// <summary>Gets the sum of its reservations in bytes.</summary>
    public required long Bytes { get; init; }
}
