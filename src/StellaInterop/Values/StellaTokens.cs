namespace StellaInterop;

/// <summary>Specifies which limit truncated a text.</summary>
public enum StellaTruncation
{
    /// <summary>None: the whole text was used.</summary>
    None = 0,

    /// <summary>The text has more tokens than <see cref="StellaModelInfo.MaxTokens"/>.</summary>
    Tokens = 1,

    /// <summary>
    /// The text with its prompt has more than 256 bytes of UTF-8 for each token of <see cref="StellaModelInfo.MaxTokens"/>, and the
    /// tokenizer did not read the rest. Plain prose has four or five bytes per token. No token is lost that the model would have used.
    /// With BERT's tokenizer (Stella 400M) characters without a token do not count: repeated blanks, dropped characters, and the rest of
    /// a word of over a hundred letters. In Stella 1.5B each byte is part of a token, and a longer token raises the limit.
    /// </summary>
    Bytes = 2,
}

/// <summary>Represents the length of a text in tokens, special tokens and prompt included, and what was changed in it.</summary>
public readonly record struct StellaTokenCount
{
    /// <summary>Gets the number of tokens that were used.</summary>
    public required int Kept { get; init; }

    /// <summary>
    /// Gets the number of tokens of the whole text, or of the part that was read if <see cref="Truncation"/> is
    /// <see cref="StellaTruncation.Bytes"/>: the whole text then has more.
    /// </summary>
    public required int Total { get; init; }

    /// <summary>Gets the limit that truncated the text.</summary>
    public StellaTruncation Truncation { get; init; }

    /// <summary>
    /// Gets the number of surrogates without a partner that were replaced by U+FFFD; 0 unless
    /// <see cref="StellaInvalidTextBehavior.Replace"/> was set.
    /// </summary>
    public int Replaced { get; init; }

    /// <summary>Gets whether the text was truncated.</summary>
    public bool IsTruncated => Truncation != StellaTruncation.None;
}

/// <summary>Represents the tokens of one text. Immutable and thread-safe.</summary>
public sealed class StellaTokens
{
    internal StellaTokens(ReadOnlyMemory<int> ids, StellaTokenCount tokenCount, ReadOnlyMemory<StellaTokenOffset> offsets = default)
    {
        Ids = ids;
        TokenCount = tokenCount;
        Offsets = offsets;
    }

    /// <summary>Gets the ids that the encoder reads, special tokens and prompt included.</summary>
    public ReadOnlyMemory<int> Ids { get; }

    /// <summary>
    /// Gets the number of tokens before and after truncation. <see cref="Ids"/> has <see cref="StellaTokenCount.Kept"/> tokens.
    /// </summary>
    public StellaTokenCount TokenCount { get; }

    /// <summary>
    /// Gets the characters that each token comes from, one entry per token of <see cref="Ids"/>; empty unless the call asked for them.
    /// </summary>
    public ReadOnlyMemory<StellaTokenOffset> Offsets { get; }
}
