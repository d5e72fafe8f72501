namespace StellaInterop;

/// <summary>What cut a text.</summary>
public enum StellaCut
{
    /// <summary>Nothing: all of it was used.</summary>
    None = 0,

    /// <summary>It has more tokens than <see cref="StellaModelOptions.MaxTokens"/>.</summary>
    Tokens = 1,

    /// <summary>
    /// It has, prompt included, more than 256 bytes of UTF-8 for each of <see cref="StellaModelOptions.MaxTokens"/>; what
    /// is beyond was not looked at. A token of plain prose has four or five. No token is lost that the model would have taken:
    /// with BERT's tokenizer (Stella 400M), characters without a token do not count, which are blanks behind blanks, those that it
    /// drops, and the rest of a word of over a hundred letters. In Stella 1.5B each byte is part of a token, and the limit is
    /// higher if a token is longer.
    /// </summary>
    Bytes = 2,
}

/// <summary>The length of a text in tokens, special tokens and prompt included, and what was done to it.</summary>
/// <param name="Kept">Tokens that were used.</param>
/// <param name="Total">
/// Tokens of the whole text. Where <paramref name="Cut"/> is <see cref="StellaCut.Bytes"/>, those of the part that was
/// looked at.
/// </param>
/// <param name="Cut">What cut the text.</param>
/// <param name="Replaced">
/// Surrogates without a partner that became U+FFFD; above zero only with <see cref="StellaInvalidText.Replace"/>.
/// </param>
public readonly record struct StellaTokenCount(int Kept, int Total, StellaCut Cut = StellaCut.None, int Replaced = 0)
{
    /// <summary>Whether the text was cut.</summary>
    public bool IsTruncated => Cut != StellaCut.None;
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
