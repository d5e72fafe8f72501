namespace StellaInterop;

/// <summary>The length of a text in tokens, special tokens and prompt included.</summary>
/// <param name="Kept">Tokens that were used.</param>
/// <param name="Total">Tokens of the whole text.</param>
public readonly record struct StellaTokenCount(int Kept, int Total)
{
    /// <summary>Whether the text was cut.</summary>
    public bool IsTruncated => Kept < Total;
}

/// <summary>The tokens of one text.</summary>
public sealed class StellaTokens
{
    internal StellaTokens(ReadOnlyMemory<int> ids, StellaTokenCount count)
    {
        Ids = ids;
        Count = count;
    }

    /// <summary>The ids that the encoder sees, special tokens and prompt included.</summary>
    public ReadOnlyMemory<int> Ids { get; }

    /// <summary>How many tokens there are and were.</summary>
    public StellaTokenCount Count { get; }
}
