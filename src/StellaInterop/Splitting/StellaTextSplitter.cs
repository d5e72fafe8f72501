using StellaInterop.Splitting;

namespace StellaInterop;

/// <summary>Splits texts into passages that fit a number of tokens, counted by the tokenizer of a model.</summary>
/// <remarks>
/// <para>
/// A passage that is at least half full ends before a Markdown heading or at the end of a paragraph. Without either, a passage that
/// is at least a quarter full ends at the end of a sentence, a line or a word. Any other passage ends after a grapheme: an emoji or a
/// letter with its marks is split only if it does not fit by itself.
/// </para>
/// <para>
/// The passages are in the order of the text and contain all of it that is not white space. The tokens of every passage are counted by
/// themselves, so that no passage is truncated when it is embedded with the same prompt. The time grows with the length of the text, and
/// the memory does not: a splitter keeps at most about 64 characters for each token of the limit, which also limits a passage.
/// </para>
/// <para>Thread-safe: any number of texts can be split at once. The splitter does not own the model.</para>
/// </remarks>
public sealed class StellaTextSplitter
{
    /// <summary>
    /// The smallest room for text in a passage, in tokens. One character may have a dozen tokens, if normalization expands it and the
    /// tokenizer encodes the result byte by byte.
    /// </summary>
    private const int MinTextTokens = 16;

    private readonly StellaModel model;
    private readonly StellaEmbedOptions embedOptions;
    private readonly int overlapTokens;
    private readonly int extraTokens;
    private TokenCounter? idleCounter;

    /// <summary>Initializes a splitter for the passages of a model.</summary>
    /// <param name="model">The model that embeds the passages. Do not dispose it before the last enumeration has ended.</param>
    /// <param name="options">
    /// The options; <see langword="null"/> for passages of <see cref="StellaModelInfo.MaxTokens"/> without overlap.
    /// </param>
    /// <exception cref="ArgumentNullException"><paramref name="model"/> is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">
    /// <see cref="StellaTextSplitterOptions.MaxTokens"/> is below 1, or <see cref="StellaTextSplitterOptions.OverlapTokens"/> is below 0.
    /// </exception>
    /// <exception cref="StellaOptionException">
    /// The limit is above that of the model, or leaves less than 16 tokens besides special tokens and prompt. Or the overlap leaves no
    /// room for new text, or the model has no prompt of the name.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public StellaTextSplitter(StellaModel model, StellaTextSplitterOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        options ??= new StellaTextSplitterOptions();
        Guard.ThrowIfNotPositive(options.MaxTokens, nameof(options.MaxTokens));
        ArgumentOutOfRangeException.ThrowIfNegative(options.OverlapTokens, nameof(options.OverlapTokens));
        this.model = model;
        embedOptions = new StellaEmbedOptions { Prompt = options.Prompt, InvalidTextBehavior = options.InvalidTextBehavior };
        MaxTokens = options.MaxTokens ?? model.Info.MaxTokens;
        overlapTokens = options.OverlapTokens;
        extraTokens = model.Tokenize("", embedOptions).TokenCount.Total;
        int room = MaxTokens - extraTokens;
        if (MaxTokens > model.Info.MaxTokens)
        {
            throw new StellaOptionException(
                StellaErrorCode.InvalidArgument,
                $"A passage of {MaxTokens} tokens does not fit the model, whose limit is {model.Info.MaxTokens} tokens. Load the model with a larger MaxTokens, or set a smaller one here.");
        }

        if (room < MinTextTokens)
        {
            throw new StellaOptionException(
                StellaErrorCode.InvalidArgument,
                $"A passage of {MaxTokens} tokens is too short: special tokens and prompt take {extraTokens}, and the text needs at least {MinTextTokens}. Set MaxTokens to at least {extraTokens + MinTextTokens}.");
        }

        if (overlapTokens >= room)
        {
            throw new StellaOptionException(
                StellaErrorCode.InvalidArgument,
                $"An overlap of {overlapTokens} tokens leaves nothing for new text in a passage of {MaxTokens}, {extraTokens} of them special tokens and prompt. Set OverlapTokens below {room}.");
        }
    }

    /// <summary>Gets the largest number of tokens of a passage, special tokens and prompt included.</summary>
    public int MaxTokens { get; }

    /// <summary>Splits a text.</summary>
    /// <param name="text">The text, of any length.</param>
    /// <param name="cancellationToken">A token that stops the enumeration before the next passage.</param>
    /// <returns>The passages in the order of the text, each computed when the enumeration reaches it; empty for a blank text.</returns>
    /// <exception cref="ArgumentNullException">The text or the reader is null.</exception>
    /// <exception cref="StellaInputException">
    /// While enumerating: the text is not valid Unicode with <see cref="StellaInvalidTextBehavior.Error"/>, or one character has more
    /// tokens than a passage.
    /// </exception>
    /// <exception cref="OperationCanceledException">While enumerating: the token was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">While enumerating: the model is disposed.</exception>
    public IEnumerable<StellaPassage> Split(string text, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        return Passages(() => new StringReader(text), cancellationToken);
    }

    /// <summary>Splits the text of a reader, which need not fit into memory.</summary>
    /// <param name="reader">The reader. The enumeration reads it and does not dispose it. Enumerate the result once.</param>
    /// <param name="cancellationToken">A token that stops the enumeration before the next passage.</param>
    /// <returns>The same passages as for the whole text as a string. Errors of the reader end the enumeration.</returns>
    /// <inheritdoc cref="Split(string, CancellationToken)" path="/exception"/>
    public IEnumerable<StellaPassage> Split(TextReader reader, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reader);
        return Passages(() => reader, cancellationToken);
    }

    private IEnumerable<StellaPassage> Passages(Func<TextReader> open, CancellationToken cancellationToken)
    {
        // Consecutive enumerations share the buffers of one counter; concurrent enumerations have their own.
        TokenCounter counter = Interlocked.Exchange(ref idleCounter, null) ?? new TokenCounter(model, embedOptions);
        try
        {
            var cutter = new PassageCutter(model, embedOptions, counter, MaxTokens, extraTokens, overlapTokens);
            foreach (StellaPassage passage in cutter.Cut(open(), cancellationToken))
            {
                yield return passage;
            }
        }
        finally
        {
            idleCounter = counter;
        }
    }
}
