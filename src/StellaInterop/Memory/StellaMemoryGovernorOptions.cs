using System.ComponentModel.DataAnnotations;
using System.Text.Json.Serialization;

namespace StellaInterop;

/// <summary>Provides options for a <see cref="StellaMemoryGovernor"/>.</summary>
/// <remarks>Not thread-safe while it is being changed. A governor copies it, so that later changes have no effect.</remarks>
public sealed record StellaMemoryGovernorOptions : IValidatableObject
{
    /// <summary>With a larger share, more memory would be kept free than be used.</summary>
    private const double MaxHeadroomFraction = 0.5;

    /// <summary>
    /// Gets or sets the number of bytes that this process may use in all, managed memory included: 1 or more. <see langword="null"/>, the
    /// default, sets no limit besides those of the system.
    /// </summary>
    /// <remarks>
    /// No headroom is kept free of this limit; <see cref="HeadroomFraction"/> and <see cref="HeadroomBytes"/> are for the system's
    /// limits.
    /// </remarks>
    public long? LimitBytes { get; set; }

    /// <summary>Gets or sets the share of each limit of the system that is kept free as headroom, 0 to 0.5; 0.1 by default.</summary>
    public double HeadroomFraction { get; set; } = 0.1;

    /// <summary>
    /// Gets or sets the number of bytes of each limit of the system that are kept free as headroom, 0 or more; 256 MiB by default. The
    /// larger of this and <see cref="HeadroomFraction"/> counts, and at most half of a limit, so that something fits under a small one.
    /// </summary>
    public long HeadroomBytes { get; set; } = 256L << 20;

    /// <summary>Gets or sets the folder where control groups (cgroups) are mounted. Used on Linux only.</summary>
    internal string CgroupRoot { get; set; } = "/sys/fs/cgroup";

    /// <summary>
    /// Gets or sets the folder where the process file system is mounted; <see langword="null"/> on a system without it. On
    /// Windows the path would name an ordinary folder, which any user may create.
    /// </summary>
    internal string? ProcRoot { get; set; } = OperatingSystem.IsLinux() ? "/proc" : null;

    /// <summary>Gets or sets the clock that dates readings and idle models; the system's by default.</summary>
    [JsonIgnore]
    public TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <summary>Returns the headroom that is kept free of a limit.</summary>
    internal long HeadroomOf(long limit) => Math.Min(limit / 2, Math.Max((long)(limit * HeadroomFraction), HeadroomBytes));

    /// <exception cref="ArgumentException">A folder is empty, or there is no clock.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A number is outside its range.</exception>
    internal void Check()
    {
        ArgumentException.ThrowIfNullOrEmpty(CgroupRoot, nameof(CgroupRoot));
        if (ProcRoot is not null)
        {
            ArgumentException.ThrowIfNullOrEmpty(ProcRoot, nameof(ProcRoot));
        }

        ArgumentNullException.ThrowIfNull(TimeProvider, nameof(TimeProvider));
        Guard.ThrowFirst(Errors());
    }

    /// <summary>Returns an error for each option that is outside its range.</summary>
    IEnumerable<ValidationResult> IValidatableObject.Validate(ValidationContext validationContext) => Guard.Results(Errors());

    private IEnumerable<OptionError> Errors() => Guard.All(
        LimitBytes is < 1 ? new OptionError(nameof(LimitBytes), LimitBytes, $"{nameof(LimitBytes)} must be 1 or more, or null for no limit.") : null,
        // The pattern refuses NaN too.
        HeadroomFraction is >= 0 and <= MaxHeadroomFraction
            ? null
            : new OptionError(nameof(HeadroomFraction), HeadroomFraction, $"{nameof(HeadroomFraction)} must be 0 to {MaxHeadroomFraction}."),
        HeadroomBytes < 0 ? new OptionError(nameof(HeadroomBytes), HeadroomBytes, $"{nameof(HeadroomBytes)} must be 0 or more.") : null,
        Guard.NotNull(nameof(TimeProvider), TimeProvider));
}
