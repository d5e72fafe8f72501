using System.Runtime.InteropServices;

namespace StellaInterop;

/// <summary>Represents the characters of a text that a token comes from.</summary>
public readonly record struct StellaTokenOffset
{
    /// <summary>Gets the position of the first character, in UTF-16 units.</summary>
    public required int Start { get; init; }

    /// <summary>
    /// Gets the position after the last character, in UTF-16 units; equal to <see cref="Start"/> for special tokens and tokens of the
    /// prompt.
    /// </summary>
    public required int End { get; init; }

    /// <summary>Gets whether the token comes from no character of the text, because it is a special token or part of the prompt.</summary>
    public bool IsEmpty => Start >= End;
}

/// <summary>Represents the hidden states of the tokens of one text: the output of the encoder before pooling and head.</summary>
/// <remarks>Immutable and thread-safe.</remarks>
public sealed class StellaTokenEmbeddings
{
    internal StellaTokenEmbeddings(
        uint[] ids, StellaTokenOffset[] offsets, StellaTokenCount tokenCount, ReadOnlyMemory<float> hiddenStates, int hiddenSize)
    {
        // A cast keeps the values, because an id is far below the largest int.
        Ids = MemoryMarshal.Cast<uint, int>(ids).ToArray();
        Offsets = offsets;
        TokenCount = tokenCount;
        HiddenStates = hiddenStates;
        HiddenSize = hiddenSize;
    }

    /// <summary>Gets the ids that the encoder read, special tokens and prompt included.</summary>
    public ReadOnlyMemory<int> Ids { get; }

    /// <summary>Gets the characters that each token comes from, one entry per token of <see cref="Ids"/>.</summary>
    public ReadOnlyMemory<StellaTokenOffset> Offsets { get; }

    /// <summary>Gets the number of tokens before and after truncation.</summary>
    public StellaTokenCount TokenCount { get; }

    /// <summary>Gets the length of a hidden state.</summary>
    public int HiddenSize { get; }

    /// <summary>Gets the hidden states, row-major <c>[Ids.Length, HiddenSize]</c>, not scaled.</summary>
    public ReadOnlyMemory<float> HiddenStates { get; }

    /// <summary>Returns the hidden state of one token.</summary>
    /// <param name="token">The index of the token in <see cref="Ids"/>.</param>
    /// <returns><see cref="HiddenSize"/> numbers.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="token"/> is not the index of a token.</exception>
    public ReadOnlySpan<float> GetHiddenState(int token)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(token);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(token, Ids.Length);
        return HiddenStates.Span.Slice(token * HiddenSize, HiddenSize);
    }
}
