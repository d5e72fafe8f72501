namespace StellaInterop;

/// <summary>What a model is to do, as far as its memory depends on it.</summary>
public sealed record StellaWorkload
{
    private const int MaxSessions = 1 << 16;
    private const int MaxThreads = 1024;
    private const int MaxBatchTokens = 1 << 20;

    /// <summary>Calls that embed at once, 1 to 65536.</summary>
    public int Sessions { get; init; } = 1;

    /// <summary>Threads of each, 1 to 1024; <see langword="null"/> for those of the options.</summary>
    public int? Threads { get; init; }

    /// <summary>Tokens that one native call carries, 1 to 1048576. A text as long as it may be always fits.</summary>
    public int BatchTokens { get; init; } = StellaModel.BatchTokens;

    /// <exception cref="ArgumentOutOfRangeException">A number is outside its range.</exception>
    internal void Check()
    {
        ThrowIfOutside(Sessions, MaxSessions, nameof(Sessions));
        ThrowIfOutside(Threads ?? 1, MaxThreads, nameof(Threads));
        ThrowIfOutside(BatchTokens, MaxBatchTokens, nameof(BatchTokens));
    }

    private static void ThrowIfOutside(int number, int most, string name)
    {
        if (number < 1 || number > most)
        {
            throw new ArgumentOutOfRangeException(name, number, $"it must be 1 to {most}");
        }
    }
}

/// <summary>Memory in bytes, by what it is for.</summary>
/// <param name="WeightsBytes">Encoder, default head and rotary tables, shared by all calls.</param>
/// <param name="TokenizerBytes">The tokenizer, shared too.</param>
/// <param name="LoadingBytes">What loading takes beside the weights, and gives back.</param>
/// <param name="SessionBytes">The peak of one call.</param>
/// <param name="TotalBytes">All of it, at the worse of two peaks: the end of loading, and all calls at work.</param>
public readonly record struct StellaMemoryEstimate(
    long WeightsBytes, long TokenizerBytes, long LoadingBytes, long SessionBytes, long TotalBytes);
