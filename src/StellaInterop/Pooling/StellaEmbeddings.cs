namespace StellaInterop;

/// <summary>A text of a call that could not be embedded.</summary>
/// <param name="TextIndex">Its index in the call.</param>
/// <param name="Error">Why.</param>
public sealed record StellaTextFailure(int TextIndex, StellaException Error);

/// <summary>What a call came to.</summary>
public sealed record StellaCallSummary
{
    internal StellaCallSummary()
    {
    }

    /// <summary>Texts of the call.</summary>
    public required int Texts { get; init; }

    /// <summary>Tokens of its texts, special tokens and prompts included, as far as they were used.</summary>
    public required long Tokens { get; init; }

    /// <summary>Texts that were cut.</summary>
    public required int TruncatedTexts { get; init; }

    /// <summary>
    /// Texts that could not be embedded, by index; empty unless <see cref="StellaOnFailedText.Report"/> was asked for.
    /// </summary>
    public required IReadOnlyList<StellaTextFailure> Failures { get; init; }

    /// <summary>Time from the call to the first of its texts being computed; zero when all came from the cache.</summary>
    public required TimeSpan QueueTime { get; init; }
}

/// <summary>The vectors of a call.</summary>
public sealed class StellaEmbeddings
{
    internal StellaEmbeddings(float[] vectors, int dimension, StellaTokenCount[] tokenCounts, StellaCallSummary summary)
    {
        Vectors = vectors;
        Dimension = dimension;
        TokenCounts = tokenCounts;
        Summary = summary;
    }

    /// <summary>All vectors, row-major <c>[Count, Dimension]</c>, in the order of the texts.</summary>
    public ReadOnlyMemory<float> Vectors { get; }

    /// <summary>Length of a vector.</summary>
    public int Dimension { get; }

    /// <summary>Number of texts.</summary>
    public int Count => TokenCounts.Count;

    /// <summary>The length of each text, and whether it was cut.</summary>
    public IReadOnlyList<StellaTokenCount> TokenCounts { get; }

    /// <summary>What the call came to.</summary>
    public StellaCallSummary Summary { get; }

    /// <summary>The vector of a text.</summary>
    /// <param name="text">The text's index.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such text.</exception>
    public ReadOnlyMemory<float> this[int text]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfNegative(text);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(text, Count);
            return Vectors.Slice(text * Dimension, Dimension);
        }
    }
}

/// <summary>One vector of a stream of texts.</summary>
/// <param name="TextIndex">The text's place in the stream, from 0.</param>
/// <param name="Vector">Its vector; empty when it failed.</param>
/// <param name="TokenCount">Its length, and whether it was cut.</param>
/// <param name="Error">
/// Why it could not be embedded; <see langword="null"/> for a text that was. Only with
/// <see cref="StellaOnFailedText.Report"/>.
/// </param>
public sealed record StellaEmbedding(
    long TextIndex, ReadOnlyMemory<float> Vector, StellaTokenCount TokenCount, StellaException? Error = null);
