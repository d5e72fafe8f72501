using System.ComponentModel.DataAnnotations;

namespace StellaInterop;

/// <summary>Provides options for the circuit breaker of a pool, which refuses calls while the model keeps failing.</summary>
/// <remarks>
/// A refused call throws <see cref="StellaCircuitOpenException"/>. After <see cref="BreakDuration"/> some calls are let through as
/// probes: if they succeed, the circuit closes. A failed load or forward pass opens it for another <see cref="BreakDuration"/>. A failure
/// that a single bad text causes does not count. Not thread-safe while it is being changed; a pool copies it.
/// </remarks>
public sealed record StellaCircuitBreakerOptions : IValidatableObject
{
    /// <summary>
    /// Gets or sets the number of consecutive failures that opens the circuit, at least 1; 5 by default. Loads have one count, and forward
    /// passes one for each dimension, so that calls of a failing head are refused alone.
    /// </summary>
    public int FailureThreshold { get; set; } = 5;

    /// <summary>
    /// Gets or sets the number of workers replaced within <see cref="SamplingDuration"/> that opens the circuit, at least 1; 5 by default.
    /// </summary>
    public int ReplacementThreshold { get; set; } = 5;

    /// <summary>Gets or sets the time in which replaced workers are counted, above 0 and below a day; one minute by default.</summary>
    public TimeSpan SamplingDuration { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>Gets or sets how long an open circuit refuses calls, above 0 and below a day; 5 seconds by default.</summary>
    public TimeSpan BreakDuration { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>Gets or sets the number of calls that are let through at once as probes, at least 1; 2 by default.</summary>
    public int MaxProbes { get; set; } = 2;

    /// <summary>Returns an error for each option that is outside its range.</summary>
    IEnumerable<ValidationResult> IValidatableObject.Validate(ValidationContext validationContext) => Guard.Results(Errors());

    internal IEnumerable<OptionError> Errors() => Guard.All(
        Guard.Range(nameof(FailureThreshold), FailureThreshold, 1, int.MaxValue),
        Guard.Range(nameof(ReplacementThreshold), ReplacementThreshold, 1, int.MaxValue),
        Guard.Positive(nameof(SamplingDuration), SamplingDuration),
        Guard.Positive(nameof(BreakDuration), BreakDuration),
        Guard.Range(nameof(MaxProbes), MaxProbes, 1, int.MaxValue));
}
