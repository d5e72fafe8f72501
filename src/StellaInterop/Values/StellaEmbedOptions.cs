namespace StellaInterop;

/// <summary>Specifies what to do with a text that has more tokens than <see cref="StellaModelInfo.MaxTokens"/>.</summary>
public enum StellaLongTextBehavior
{
    /// <summary>
    /// Drops the tokens at the end and keeps the special tokens. <see cref="StellaTokenCount"/> tells that the text was truncated.
    /// </summary>
    Truncate = 0,

    /// <summary>
    /// Throws <see cref="StellaInputException"/> with the index of the text. The message has its number of tokens and the limit.
    /// </summary>
    Error = 1,
}

/// <summary>Specifies what to do with a text that is not valid Unicode because a surrogate has no partner.</summary>
public enum StellaInvalidTextBehavior
{
    /// <summary>Throws <see cref="StellaInputException"/> with the index of the text. The message has the index of the surrogate.</summary>
    Error = 0,

    /// <summary>Replaces the surrogate by U+FFFD. <see cref="StellaTokenCount.Replaced"/> counts the replacements.</summary>
    Replace = 1,
}

/// <summary>Provides options for embedding or tokenizing texts.</summary>
/// <remarks>Immutable and thread-safe.</remarks>
public sealed record StellaEmbedOptions
{
    internal static StellaEmbedOptions Default { get; } = new();

    /// <summary>
    /// Gets the prompt of the texts: <see cref="StellaPrompt.SearchQuery"/> for queries, <see cref="StellaPrompt.Document"/> for documents.
    /// <see cref="StellaPrompt.Default"/>, the default, is the default prompt of the model's folder. Stella's folders have none, so that it
    /// is the same as <see cref="StellaPrompt.Document"/>.
    /// </summary>
    public StellaPrompt Prompt { get; init; }

    /// <summary>
    /// Gets the length of the vectors, one of <see cref="StellaModelInfo.Dimensions"/>; <see langword="null"/>, the default, for
    /// <see cref="StellaModelInfo.DefaultDimension"/>. Vectors of different dimensions cannot be compared.
    /// </summary>
    public int? Dimension { get; init; }

    /// <summary>
    /// Gets the lengths of several vectors for each text, which take the place of <see cref="Dimension"/>; <see langword="null"/> by
    /// default. One forward pass computes all vectors of a text. A row of the result has them one after the other, in the order of this
    /// list, so its length is their sum.
    /// </summary>
    public IReadOnlyList<int>? Dimensions { get; init; }

    /// <summary>
    /// Gets whether vectors are scaled to length 1, so that their dot product is their cosine; <see langword="true"/> by default. A model
    /// whose folder has a Normalize module scales them in any case.
    /// </summary>
    public bool Normalize { get; init; } = true;

    /// <summary>
    /// Gets the treatment of a text that has too many tokens; <see cref="StellaLongTextBehavior.Truncate"/> by default.
    /// </summary>
    public StellaLongTextBehavior LongTextBehavior { get; init; } = StellaLongTextBehavior.Truncate;

    /// <summary>
    /// Gets the treatment of a text that is not valid Unicode; <see cref="StellaInvalidTextBehavior.Error"/> by default.
    /// </summary>
    public StellaInvalidTextBehavior InvalidTextBehavior { get; init; } = StellaInvalidTextBehavior.Error;

    /// <summary>
    /// Gets the index of the call's first text in the list of the caller, for a list that is embedded in parts. Indices in errors count
    /// from it.
    /// </summary>
    internal int FirstTextIndex { get; init; }

    /// <param name="textCount">The number of texts of the call, each of which must have an index that an error can name.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range; the message names it.</exception>
    internal void Check(int textCount)
    {
        Check();
        ArgumentOutOfRangeException.ThrowIfNegative(FirstTextIndex, nameof(FirstTextIndex));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(FirstTextIndex, int.MaxValue - textCount, nameof(FirstTextIndex));
    }

    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range; the message names it.</exception>
    internal void Check()
    {
        Guard.ThrowIfNotPositive(Dimension, nameof(Dimension));
        CheckDimensions();
        Guard.ThrowIf(Guard.Defined(nameof(LongTextBehavior), LongTextBehavior));
        Guard.ThrowIf(Guard.Defined(nameof(InvalidTextBehavior), InvalidTextBehavior));
    }

    /// <summary>Returns the heads of a call.</summary>
    /// <param name="defaultDimension">The dimension of the model's default head.</param>
    internal Heads HeadsOr(int defaultDimension) =>
        Dimensions is { } several ? new Heads(several) : new Heads(Dimension ?? defaultDimension);

    private void CheckDimensions()
    {
        if (Dimensions is not { } several)
        {
            return;
        }

        if (Dimension is not null)
        {
            throw new ArgumentOutOfRangeException(
                nameof(Dimensions), $"{nameof(Dimension)} and {nameof(Dimensions)} are both set. Set one of them.");
        }

        if (several.Count == 0)
        {
            throw new ArgumentOutOfRangeException(
                nameof(Dimensions), $"{nameof(Dimensions)} is empty. Name at least one dimension, or set it to null.");
        }

        for (int i = 0; i < several.Count; i++)
        {
            Guard.ThrowIfNotPositive(several[i], nameof(Dimensions));
            if (several.Take(i).Contains(several[i]))
            {
                throw new ArgumentOutOfRangeException(
                    nameof(Dimensions), several[i], $"{nameof(Dimensions)} has {several[i]} twice. Name each dimension once.");
            }
        }
    }
}
