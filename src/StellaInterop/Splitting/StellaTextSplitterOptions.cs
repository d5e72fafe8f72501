namespace StellaInterop;

/// <summary>Provides options for splitting texts into passages.</summary>
public sealed record StellaTextSplitterOptions
{
    /// <summary>
    /// Gets the largest number of tokens of a passage, special tokens and prompt included: 1 to
    /// <see cref="StellaModelInfo.MaxTokens"/>; <see langword="null"/>, the default, for that number. Search finds shorter passages more
    /// precisely; 200 to 500 tokens are usual.
    /// </summary>
    public int? MaxTokens { get; init; }

    /// <summary>
    /// Gets the largest number of tokens at the end of a passage that the next one repeats, 0 or more; 0 by default. The overlap
    /// begins at a sentence if one begins in these tokens, otherwise at a word, otherwise at a character. It counts towards
    /// <see cref="MaxTokens"/>.
    /// </summary>
    public int OverlapTokens { get; init; }

    /// <summary>Gets the prompt that the passages are embedded with. Its tokens count towards <see cref="MaxTokens"/>.</summary>
    public StellaPrompt Prompt { get; init; }

    /// <summary>
    /// Gets the treatment of a surrogate without a partner; <see cref="StellaInvalidTextBehavior.Error"/> by default. A passage keeps the
    /// surrogate in any case, so embed passages with the same value.
    /// </summary>
    public StellaInvalidTextBehavior InvalidTextBehavior { get; init; } = StellaInvalidTextBehavior.Error;
}
