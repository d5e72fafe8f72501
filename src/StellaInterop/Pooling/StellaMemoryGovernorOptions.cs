namespace StellaInterop;

/// <summary>How a <see cref="StellaMemoryGovernor"/> decides.</summary>
public sealed record StellaMemoryGovernorOptions
{
    /// <summary>More would keep more free than it gives away.</summary>
    private const double MaxReserveFraction = 0.5;

    /// <summary>
    /// Bytes that this process may use in all, managed memory and everything else included: 1 or more.
    /// <see langword="null"/>, the default, sets no limit of its own beside those of the system.
    /// </summary>
    /// <remarks>It is taken as it is: <see cref="ReserveFraction"/> and <see cref="ReserveBytes"/> are for the system's limits.</remarks>
    public long? LimitBytes { get; init; }

    /// <summary>The part of each limit of the system that is kept free, 0 to 0.5. The default is 0.1.</summary>
    public double ReserveFraction { get; init; } = 0.1;

    /// <summary>
    /// Bytes of each limit of the system that are kept free, 0 or more; the larger of this and
    /// <see cref="ReserveFraction"/> counts. The default is 256 MiB. Never more than half of a limit is kept free, so that
    /// something fits under a small one.
    /// </summary>
    public long ReserveBytes { get; init; } = 256L << 20;

    /// <summary>Where control groups are mounted. Read on Linux alone.</summary>
    public string CgroupRoot { get; init; } = "/sys/fs/cgroup";

    /// <summary>Where the process file system is mounted. Read on Linux alone.</summary>
    public string ProcRoot { get; init; } = "/proc";

    /// <summary>The clock by which a reading ages and by which what is idle is put in order.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>What is kept free of a limit.</summary>
    internal long HeadroomOf(long limit) => Math.Min(limit / 2, Math.Max((long)(limit * ReserveFraction), ReserveBytes));

    /// <exception cref="ArgumentException">A folder is empty, or there is no clock.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A number is outside its range.</exception>
    internal void Check()
    {
        if (LimitBytes is < 1)
        {
            throw new ArgumentOutOfRangeException(nameof(LimitBytes), LimitBytes, "it must be 1 or more, or null for no limit");
        }

        // Written so that NaN is refused too.
        if (!(ReserveFraction is >= 0 and <= MaxReserveFraction))
        {
            throw new ArgumentOutOfRangeException(
                nameof(ReserveFraction), ReserveFraction, $"it must be 0 to {MaxReserveFraction}");
        }

        if (ReserveBytes < 0)
        {
            throw new ArgumentOutOfRangeException(nameof(ReserveBytes), ReserveBytes, "it must be 0 or more");
        }

        ArgumentException.ThrowIfNullOrEmpty(CgroupRoot, nameof(CgroupRoot));
        ArgumentException.ThrowIfNullOrEmpty(ProcRoot, nameof(ProcRoot));
        ArgumentNullException.ThrowIfNull(TimeProvider, nameof(TimeProvider));
    }
}
