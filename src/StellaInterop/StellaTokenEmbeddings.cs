using System.Runtime.InteropServices;

namespace StellaInterop;

/// <summary>Where in a text a token comes from.</summary>
/// <param name="Start">The first character, in UTF-16 units.</param>
/// <param name="End">The character after the last; equals <paramref name="Start"/> for special tokens and those of the prompt.</param>
public readonly record struct StellaTokenPlace(int Start, int End)
{
    /// <summary>Whether the token is a special one or one of the prompt, and so stands for no character of the text.</summary>
    public bool IsEmpty => Start >= End;
}

/// <summary>What the tokens of one text became: a hidden state each, before pooling and head.</summary>
/// <remarks>Immutable and thread-safe.</remarks>
public sealed class StellaTokenEmbeddings
{
    private readonly uint[] ids;

    internal StellaTokenEmbeddings(
        uint[] ids, StellaTokenPlace[] places, StellaTokenCount count, ReadOnlyMemory<float> hidden, int hiddenSize)
    {
        this.ids = ids;
        Places = places;
        Count = count;
        Hidden = hidden;
        HiddenSize = hiddenSize;
    }

    /// <summary>The ids that the encoder saw, special tokens and prompt included.</summary>
    public ReadOnlySpan<int> Ids => MemoryMarshal.Cast<uint, int>(ids);

    /// <summary>For each token its place in the text.</summary>
    public ReadOnlyMemory<StellaTokenPlace> Places { get; }

    /// <summary>How many tokens there are and were.</summary>
    public StellaTokenCount Count { get; }

    /// <summary>Width of a hidden state.</summary>
    public int HiddenSize { get; }

    /// <summary>The hidden states, row-major <c>[tokens, hidden size]</c>, not scaled.</summary>
    public ReadOnlyMemory<float> Hidden { get; }

    /// <summary>The hidden state of one token.</summary>
    /// <param name="token">Index of the token.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    public ReadOnlySpan<float> HiddenOf(int token) => Hidden.Span.Slice(checked(token * HiddenSize), HiddenSize);
}
