using StellaInterop.Splitting;

namespace StellaInterop;

/// <summary>Cuts texts into passages that fit a number of tokens, by the tokenizer of a model.</summary>
/// <remarks>
/// <para>
/// A passage that is at least half full ends before a Markdown heading or at the end of a paragraph. If there is none, a passage that
/// is at least a quarter full ends at the end of a sentence, a line or a word. Any other ends after a grapheme: an emoji or a letter
/// with its marks is cut only if it does not fit by itself.
/// </para>
/// <para>
/// The passages are in the order of the text and contain all of it that is not white space. Every passage counts its own tokens, so
/// that none is cut when it is embedded with the same prompt. The time grows with the length of the text, and the memory does not:
/// at most about 64 characters for each token of the limit are held. A passage has at most so many.
/// </para>
/// <para>Thread-safe: any number of texts can be cut at once. The model is not disposed with the splitter.</para>
/// </remarks>
public sealed class StellaTextSplitter
{
    /// <summary>
    /// Tokens of text that a passage must have room for. One character may have a dozen tokens, when normalisation makes several of it
    /// and the tokenizer spells each by its bytes.
    /// </summary>
    private const int MinTextTokens = 16;

    private readonly StellaModel model;
    private readonly StellaEmbedOptions embedOptions;
    private readonly int overlapTokens;
    private readonly int besideTokens;
    private TokenCounter? spare;

    /// <summary>Makes a splitter.</summary>
    /// <param name="model">The model that embeds the passages. It must not be disposed while texts are cut.</param>
    /// <param name="options">How to cut; <see langword="null"/> for passages of <see cref="StellaModelInfo.MaxTokens"/> without overlap.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is negative, or the limit is zero.</exception>
    /// <exception cref="StellaOptionException">
    /// The limit is above the model's, or leaves less than 16 tokens beside special tokens and prompt; the overlap leaves nothing for new
    /// text; or the model has no prompt of the name.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public StellaTextSplitter(StellaModel model, StellaTextSplitterOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        options ??= new StellaTextSplitterOptions();
        StellaModel.ThrowIfNotPositive(options.MaxTokens, nameof(options.MaxTokens));
        ArgumentOutOfRangeException.ThrowIfNegative(options.OverlapTokens, nameof(options.OverlapTokens));
        this.model = model;
        embedOptions = new StellaEmbedOptions { Prompt = options.Prompt, InvalidTextBehavior = options.InvalidTextBehavior };
        MaxTokens = options.MaxTokens ?? model.Info.MaxTokens;
        overlapTokens = options.OverlapTokens;
        besideTokens = model.Tokenize("", embedOptions).TokenCount.Total;
        int room = MaxTokens - besideTokens;
        if (MaxTokens > model.Info.MaxTokens)
        {
            throw new StellaOptionException(
                StellaErrorCode.InvalidArgument,
                $"A passage of {MaxTokens} tokens does not fit the model, whose limit is {model.Info.MaxTokens}. Load the model with a larger MaxTokens, or set a smaller one here.");
        }

        if (room < MinTextTokens)
        {
            throw new StellaOptionException(
                StellaErrorCode.InvalidArgument,
                $"A passage of {MaxTokens} tokens is too short: special tokens and prompt take {besideTokens}, and {MinTextTokens} are needed beside them. Set MaxTokens to at least {besideTokens + MinTextTokens}.");
        }

        if (overlapTokens >= room)
        {
            throw new StellaOptionException(
                StellaErrorCode.InvalidArgument,
                $"An overlap of {overlapTokens} tokens leaves nothing for new text in a passage of {MaxTokens}, {besideTokens} of them special tokens and prompt. Set OverlapTokens below {room}.");
        }
    }

    /// <summary>Gets the tokens that a passage may have, special tokens and prompt included.</summary>
    public int MaxTokens { get; }

    /// <summary>Cuts a text.</summary>
    /// <param name="text">The text, of any length.</param>
    /// <param name="cancellationToken">Stops before the next passage.</param>
    /// <returns>The passages in the order of the text, each computed when it is asked for; none for a blank text.</returns>
    /// <exception cref="StellaInputException">While enumerating: the text is not valid Unicode, or one character has more tokens than fit.</exception>
    /// <exception cref="OperationCanceledException">While enumerating: the token was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">While enumerating: the model is disposed.</exception>
    public IEnumerable<StellaPassage> Split(string text, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        return Passages(() => new StringReader(text), cancellationToken);
    }

    /// <summary>Cuts the text of a reader, which need not fit into memory.</summary>
    /// <param name="reader">The reader, which is read as passages are asked for and is not disposed. Enumerate the result once.</param>
    /// <param name="cancellationToken">Stops before the next passage.</param>
    /// <returns>The same passages as for the whole text as a string.</returns>
    /// <inheritdoc cref="Split(string, CancellationToken)" path="/exception"/>
    public IEnumerable<StellaPassage> Split(TextReader reader, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reader);
        return Passages(() => reader, cancellationToken);
    }

    private IEnumerable<StellaPassage> Passages(Func<TextReader> open, CancellationToken cancellationToken)
    {
        // One thread after the other uses the memory of a counter; threads at the same time have one each.
        TokenCounter counter = Interlocked.Exchange(ref spare, null) ?? new TokenCounter(model, embedOptions);
        try
        {
            var cutter = new PassageCutter(model, embedOptions, counter, MaxTokens, besideTokens, overlapTokens);
            foreach (StellaPassage passage in cutter.Cut(open(), cancellationToken))
            {
                yield return passage;
            }
        }
        finally
        {
            spare = counter;
        }
    }
}
