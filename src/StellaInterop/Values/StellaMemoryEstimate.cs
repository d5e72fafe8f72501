namespace StellaInterop;

/// <summary>Represents the calls that a model will run, for an estimate of their memory.</summary>
/// <remarks>Immutable and thread-safe.</remarks>
public sealed record StellaWorkload
{
    /// <summary>Gets the number of calls that embed at once, 1 to 65536; 1 by default.</summary>
    public int Sessions { get; init; } = 1;

    /// <summary>
    /// Gets the number of threads of each call, 1 to 1024; <see langword="null"/>, the default, for
    /// <see cref="StellaModelOptions.Threads"/>.
    /// </summary>
    public int? Threads { get; init; }

    /// <summary>
    /// Gets the largest number of tokens of one native call, 1 to 1048576; 512 by default. A text of the largest length always fits.
    /// </summary>
    public int MaxBatchTokens { get; init; } = ModelLimits.DefaultBatchTokens;

    /// <exception cref="ArgumentOutOfRangeException">A number is outside its range.</exception>
    internal void Check() => Guard.ThrowFirst(Guard.All(
        Guard.Range(nameof(Sessions), Sessions, 1, ModelLimits.MaxSessions),
        Guard.Range(nameof(Threads), Threads, 1, ModelLimits.MaxThreads),
        Guard.Range(nameof(MaxBatchTokens), MaxBatchTokens, 1, ModelLimits.MaxBatchTokens)));
}

/// <summary>Represents an estimate of memory in bytes, by purpose.</summary>
public readonly record struct StellaMemoryEstimate
{
    /// <summary>Gets the bytes of the encoder, the default head and the rotary tables, which all calls share.</summary>
    public required long WeightsBytes { get; init; }

    /// <summary>Gets the bytes of the tokenizer, which all calls share.</summary>
    public required long TokenizerBytes { get; init; }

    /// <summary>Gets the bytes that a load needs besides the weights and frees at its end.</summary>
    public required long LoadingBytes { get; init; }

    /// <summary>Gets the bytes of one call at its peak; in a pool, of one worker.</summary>
    public required long SessionBytes { get; init; }

    /// <summary>
    /// Gets the bytes at the larger of two peaks: the end of the load, and all calls at work. Both include 14 MiB for the code of the
    /// library, its cache of words and its allocator.
    /// </summary>
    public required long TotalBytes { get; init; }
}
