namespace StellaInterop;

/// <summary>What to do with a text that has more tokens than the model was loaded for.</summary>
public enum StellaLongText
{
    /// <summary>Cut it at the end, special tokens kept. The cut shows in <see cref="StellaTokenCount"/>.</summary>
    Truncate = 0,

    /// <summary>Throw <see cref="StellaInputException"/> with the text's index and length.</summary>
    Error = 1,
}

/// <summary>What to do with a text that has a surrogate without a partner, and so is no Unicode text.</summary>
public enum StellaInvalidText
{
    /// <summary>Throw <see cref="StellaInputException"/> with the text's index and the place.</summary>
    Error = 0,

    /// <summary>Put U+FFFD in its place. Their number is in <see cref="StellaTokenCount.Replaced"/>.</summary>
    Replace = 1,
}

/// <summary>How to embed or tokenize texts.</summary>
public sealed record StellaEmbedOptions
{
    internal static StellaEmbedOptions Default { get; } = new();

    /// <summary>
    /// The prompt of the texts. By default it is the default prompt of the model's folder. Stella's folders have none, so that
    /// nothing is put before a text.
    /// </summary>
    public StellaPrompt Prompt { get; init; }

    /// <summary>
    /// Length of the vectors, one of <see cref="StellaModelInfo.Dimensions"/>; <see langword="null"/> for the model's
    /// default. Vectors of different dimensions cannot be compared.
    /// </summary>
    public int? Dimension { get; init; }

    /// <summary>
    /// Whether vectors are scaled to length 1, so that their dot product is their cosine. On by default. A model whose folder
    /// has a Normalize module gives vectors of length 1 in any case.
    /// </summary>
    public bool Normalize { get; init; } = true;

    /// <summary>What to do with a text that has too many tokens.</summary>
    public StellaLongText OnLongText { get; init; } = StellaLongText.Truncate;

    /// <summary>What to do with a text that is no valid Unicode.</summary>
    public StellaInvalidText OnInvalidText { get; init; } = StellaInvalidText.Error;

    /// <summary>
    /// Index of the call's first text in the caller's own list, for a list that is embedded in parts: errors count from
    /// here.
    /// </summary>
    public int FirstTextIndex { get; init; }
}
