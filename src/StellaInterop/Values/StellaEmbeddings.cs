using System.Collections;

namespace StellaInterop;

/// <summary>Represents a text of a call that could not be embedded.</summary>
public sealed record StellaTextFailure
{
    internal StellaTextFailure()
    {
    }

    /// <summary>Gets the index of the text in the call.</summary>
    public required int TextIndex { get; init; }

    /// <summary>Gets the error of the text.</summary>
    public required StellaException Error { get; init; }
}

/// <summary>Represents the counts, the queue time and the failed texts of a call.</summary>
public sealed record StellaCallSummary
{
    internal StellaCallSummary()
    {
    }

    /// <summary>Gets the number of texts of the call.</summary>
    public required int TextCount { get; init; }

    /// <summary>Gets the number of tokens that were used, special tokens and prompts included.</summary>
    public required long TokenCount { get; init; }

    /// <summary>Gets the number of texts that were truncated.</summary>
    public required int TruncatedTextCount { get; init; }

    /// <summary>
    /// Gets the texts that could not be embedded, in order of index; empty unless <see cref="StellaTextFailureMode.Report"/> was set.
    /// </summary>
    public required IReadOnlyList<StellaTextFailure> Failures { get; init; }

    /// <summary>
    /// Gets the time from the call to the first of its texts reaching a worker; zero if all vectors came from the cache, and for calls
    /// of a <see cref="StellaModel"/>.
    /// </summary>
    public required TimeSpan QueueTime { get; init; }

    /// <summary>
    /// Gets the time in which the texts were tokenized; zero if all vectors came from the cache, and for calls of a <see cref="StellaModel"/>.
    /// The part before the first text reaches a worker is also in <see cref="QueueTime"/>.
    /// </summary>
    public TimeSpan TokenizationTime { get; init; }
}

/// <summary>Represents the vectors of a call: a list with one vector per text, in the order of the texts.</summary>
/// <remarks>
/// Immutable and thread-safe. All vectors are slices of one array, <see cref="Vectors"/>, which methods such as
/// <see cref="StellaInterop.Vectors.Similarity.DotRows"/> compare with a query in one call.
/// </remarks>
public sealed class StellaEmbeddings : IReadOnlyList<ReadOnlyMemory<float>>
{
    internal StellaEmbeddings(float[] vectors, int rowLength, StellaTokenCount[] tokenCounts, StellaCallSummary summary)
    {
        Vectors = vectors;
        Dimension = rowLength;
        TokenCounts = tokenCounts;
        Summary = summary;
    }

    /// <summary>Gets all vectors, row-major <c>[Count, Dimension]</c>, in the order of the texts.</summary>
    public ReadOnlyMemory<float> Vectors { get; }

    /// <summary>Gets the length of a vector; with <see cref="StellaEmbedOptions.Dimensions"/>, the length of a row.</summary>
    public int Dimension { get; }

    /// <summary>Gets the number of texts.</summary>
    public int Count => TokenCounts.Count;

    /// <summary>Gets the length of each text in tokens, and whether the text was truncated.</summary>
    public IReadOnlyList<StellaTokenCount> TokenCounts { get; }

    /// <summary>Gets the counts, times and failed texts of the call.</summary>
    public StellaCallSummary Summary { get; }

    /// <summary>Gets the vector of a text.</summary>
    /// <param name="index">The index of the text.</param>
    /// <returns><see cref="Dimension"/> numbers; all zero for a text that failed.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="index"/> is not the index of a text.</exception>
    public ReadOnlyMemory<float> this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfNegative(index);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
            return Vectors.Slice(index * Dimension, Dimension);
        }
    }

    /// <summary>Returns an enumerator over the vectors.</summary>
    public IEnumerator<ReadOnlyMemory<float>> GetEnumerator()
    {
        for (int i = 0; i < Count; i++)
        {
            yield return this[i];
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>Allocates the rows of a call.</summary>
    /// <exception cref="ArgumentException">The vectors have more numbers than an array can have.</exception>
    internal static float[] Rows(int texts, int dimension)
    {
        long length = (long)texts * dimension;
        return length <= Array.MaxLength
            ? GC.AllocateUninitializedArray<float>((int)length)
            : throw new ArgumentException(
                $"{texts} vectors of {dimension} are {length} numbers; an array has at most {Array.MaxLength}. Embed the texts in parts, or as a stream.",
                nameof(texts));
    }
}

/// <summary>Represents the embedding of one text of a stream. Immutable and thread-safe.</summary>
public sealed class StellaTextEmbedding
{
    /// <summary>Gets the index of the text in the stream, from 0.</summary>
    public required long TextIndex { get; init; }

    /// <summary>
    /// Gets the vector of the text; empty if <see cref="Error"/> is not null. It is a slice of an array that other vectors
    /// of the stream share, and that is never written to again. Copy the vector to keep it without the others.
    /// </summary>
    public required ReadOnlyMemory<float> Vector { get; init; }

    /// <summary>Gets the length of the text in tokens, and whether it was truncated; zero if <see cref="Error"/> is not null.</summary>
    public required StellaTokenCount TokenCount { get; init; }

    /// <summary>
    /// Gets the error of a text that could not be embedded; <see langword="null"/> otherwise, and always without
    /// <see cref="StellaTextFailureMode.Report"/>.
    /// </summary>
    public StellaException? Error { get; init; }
}
