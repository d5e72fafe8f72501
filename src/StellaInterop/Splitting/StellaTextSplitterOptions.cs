namespace StellaInterop;

/// <summary>How a <see cref="StellaTextSplitter"/> cuts texts.</summary>
public sealed record StellaTextSplitterOptions
{
    /// <summary>
    /// Tokens that a passage may have, special tokens and prompt included: at most <see cref="StellaModelInfo.MaxTokens"/>, the
    /// default. Shorter passages are found more precisely; 200 to 500 tokens are usual.
    /// </summary>
    public int? MaxTokens { get; init; }

    /// <summary>
    /// Tokens at the end of a passage that the next one begins with, at most; 0 by default. The overlap begins at a sentence if one
    /// begins in these tokens, else at a word, else at a character. It counts towards <see cref="MaxTokens"/>.
    /// </summary>
    public int OverlapTokens { get; init; }

    /// <summary>The prompt that the passages are embedded with. Its tokens count towards <see cref="MaxTokens"/>.</summary>
    public StellaPrompt Prompt { get; init; }

    /// <summary>The treatment of a surrogate without a partner. A passage keeps it in any case, so embed passages with the same value.</summary>
    public StellaInvalidText OnInvalidText { get; init; } = StellaInvalidText.Error;
}
