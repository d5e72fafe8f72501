namespace StellaInterop.Interop;

/// <summary>The tokenizer of a loaded model. Thread-safe; buffers belong to one call at a time.</summary>
internal sealed class ModelTokenizer(ModelHandle model, StellaModelInfo info)
{
    /// <summary>Gets the part of the tokenizer that shortens long texts.</summary>
    public ITextCondenser Condenser { get; } = new TextCondenser(model, info.MaxTextBytes);

    /// <summary>
    /// Tokenizes texts in packs of bounded size, one pack per step of the enumeration. All packs of a call use the same buffers.
    /// </summary>
    /// <param name="texts">The texts.</param>
    /// <param name="firstTextIndex">The index of the first text in the list of the caller, for errors.</param>
    /// <param name="options">The prompt, and the behavior for long and invalid texts.</param>
    /// <param name="buffers">The buffers of the call.</param>
    /// <param name="cancellationToken">A token that stops the enumeration before the next pack.</param>
    /// <returns>An enumeration that throws <see cref="StellaInputException"/> for a text that cannot be tokenized.</returns>
    public TokenizedPacks Tokenize(
        ReadOnlySpan<string> texts,
        int firstTextIndex,
        StellaEmbedOptions options,
        TokenizerBuffers buffers,
        CancellationToken cancellationToken = default) =>
        new(this, texts, firstTextIndex, options, buffers, cancellationToken);

    /// <summary>Tokenizes one text, and finds the characters that each token comes from.</summary>
    /// <exception cref="StellaInputException">The text cannot be tokenized.</exception>
    public TokensWithOffsets TokenizeWithOffsets(string text, StellaEmbedOptions options) =>
        TokensWithOffsets.Of(model, Condenser, text, options);

    /// <summary>Packs and tokenizes the texts at the beginning of a list.</summary>
    internal void FillPack(ReadOnlySpan<string> texts, int firstTextIndex, StellaEmbedOptions options, TokenizerBuffers buffers)
    {
        buffers.Texts.Fill(texts, firstTextIndex, options.InvalidTextBehavior, Condenser);
        buffers.Tokens.Fill(model, buffers.Texts, options, info);
    }
}

/// <summary>The buffers of calls to a tokenizer, which grow to the largest call and are reused. Not thread-safe.</summary>
internal sealed class TokenizerBuffers
{
    public PackedTexts Texts { get; } = new();

    public TokenizedPack Tokens { get; } = new();

    /// <summary>Frees the memory that only a text of unusual length needed.</summary>
    public void Trim() => Texts.Trim();
}

/// <summary>Enumerates the tokens of texts, one pack at a time. Allocates nothing once the buffers are large enough.</summary>
internal ref struct TokenizedPacks(
    ModelTokenizer tokenizer,
    ReadOnlySpan<string> texts,
    int firstTextIndex,
    StellaEmbedOptions options,
    TokenizerBuffers buffers,
    CancellationToken cancellationToken)
{
    private readonly ReadOnlySpan<string> texts = texts;
    private int start;
    private int end;

    /// <summary>Gets the index of the pack's first text in <c>texts</c>, and the pack. Valid until the next step.</summary>
    public readonly (int Start, TokenizedPack Pack) Current => (start, buffers.Tokens);

    public readonly TokenizedPacks GetEnumerator() => this;

    /// <summary>Tokenizes the next pack.</summary>
    /// <exception cref="StellaInputException">A text of the pack cannot be tokenized.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public bool MoveNext()
    {
        if (end >= texts.Length)
        {
            return false;
        }

        cancellationToken.ThrowIfCancellationRequested();
        start = end;
        tokenizer.FillPack(texts[start..], firstTextIndex + start, options, buffers);
        end += buffers.Tokens.Count;
        return true;
    }
}
