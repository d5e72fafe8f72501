namespace StellaInterop;

/// <summary>Provides options for splitting texts into passages.</summary>
/// <remarks>Not thread-safe while it is being changed. A splitter copies it, so that later changes have no effect.</remarks>
public sealed record StellaTextSplitterOptions
{
    /// <summary>
    /// Gets or sets the largest number of tokens of a passage, special tokens and prompt included: at least 16 more than these, and at most
    /// <see cref="StellaModelInfo.MaxTokens"/>, which <see langword="null"/>, the default, takes. Search finds shorter passages more
    /// precisely; 200 to 500 tokens are usual.
    /// </summary>
    public int? MaxTokens { get; set; }

    /// <summary>
    /// Gets or sets the largest number of tokens at the end of a passage that the next passage repeats, 0 or more and below the room for
    /// text; 0 by default. The overlap begins at a sentence if one begins in these tokens, otherwise at a word, otherwise at a character.
    /// Its tokens count towards <see cref="MaxTokens"/>.
    /// </summary>
    public int OverlapTokens { get; set; }

    /// <summary>
    /// Gets or sets the prompt that the passages are embedded with; <see cref="StellaPrompt.Default"/> by default. Its tokens count towards
    /// <see cref="MaxTokens"/>.
    /// </summary>
    public StellaPrompt Prompt { get; set; }

    /// <summary>
    /// Gets or sets the treatment of a surrogate without a partner; <see cref="StellaInvalidTextBehavior.Error"/> by default. A passage
    /// keeps the surrogate in any case, so embed passages with the same value.
    /// </summary>
    public StellaInvalidTextBehavior InvalidTextBehavior { get; set; } = StellaInvalidTextBehavior.Error;
}
