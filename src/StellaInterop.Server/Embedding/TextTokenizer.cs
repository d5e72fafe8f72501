using System.Runtime.CompilerServices;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Fields;

namespace StellaInterop.Server.Embedding;

/// <summary>Represents some tokens of a text that follow each other.</summary>
/// <param name="Text">The whole text, with its prompt.</param>
/// <param name="Start">The position in the text to which the offsets are relative.</param>
/// <param name="Ids">The ids.</param>
/// <param name="Offsets">The characters of each token.</param>
/// <param name="IsLast">Whether these are the last tokens of the text.</param>
internal readonly record struct TokenPart(string Text, int Start, ReadOnlyMemory<int> Ids, ReadOnlyMemory<StellaTokenOffset> Offsets, bool IsLast);

/// <summary>Tokenizes texts of any length, part by part, so that neither the limit of the model nor memory cuts them. Not thread-safe.</summary>
/// <remarks>
/// <para>
/// The tokenizer cuts a text at the limit of the model. So a longer text is tokenized in windows that begin where the tokenizer begins a new
/// word in any case: the tokens are those of the whole text. A word that exceeds the limit by itself, such as hundreds of letters without
/// a blank or a punctuation mark, is divided before a token.
/// </para>
/// <para>
/// A prompt is put before the text here, so that its tokens have characters too, as the protocol wants it.
/// </para>
/// </remarks>
/// <param name="pool">The pool of the model.</param>
/// <param name="info">The properties of the model.</param>
/// <param name="prompt">The prompt.</param>
internal sealed class TextTokenizer(StellaEmbeddingPool pool, StellaModelInfo info, StellaPrompt prompt)
{
    /// <summary>The length of a window. More tokens than the limit are tokenized in vain.</summary>
    private const int CharactersPerToken = 3;

    /// <summary>A text of one token, which shows the tokens before it.</summary>
    private const string Probe = "a";

    /// <summary>The prompt with which the tokenizer puts nothing before a text, unless the model has no such prompt.</summary>
    private readonly StellaEmbedOptions options = new() { Prompt = FindEmptyPrompt(info) ?? prompt };

    private int? tokensBeforeText;

    /// <summary>Tokenizes texts.</summary>
    /// <exception cref="StellaOptionException">The model has no prompt of the name.</exception>
    public async IAsyncEnumerable<TokenPart> ReadAsync(TextList texts, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string before = await GetPromptTextAsync(cancellationToken).ConfigureAwait(false);
        for (int i = 0; i < texts.Count; i++)
        {
            await foreach (TokenPart part in ReadAsync(before + texts[i], cancellationToken).ConfigureAwait(false))
            {
                yield return part;
            }
        }
    }

    private async IAsyncEnumerable<TokenPart> ReadAsync(string text, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        long length = info.MaxTokens * CharactersPerToken;
        for (int start = 0; ;)
        {
            int end = (int)Math.Min(start + length, text.Length);
            end -= end < text.Length && char.IsLowSurrogate(text[end]) ? 1 : 0;
            StellaTokens tokens = await TokenizeAsync(text[start..end], cancellationToken).ConfigureAwait(false);
            bool isCut = tokens.TokenCount.IsTruncated;
            int skipped = start == 0 ? 0 : await CountTokensBeforeTextAsync(cancellationToken).ConfigureAwait(false);
            if (end == text.Length && !isCut)
            {
                yield return Part(skipped, tokens.Ids.Length, isLast: true);
                yield break;
            }

            // The last character of a text that was cut may have more tokens than were kept.
            int last = isCut ? FindLast(tokens.Offsets.Span) : tokens.Ids.Length;
            (int count, int next) = FindWordEnd(text, start, tokens.Offsets.Span[..last]);
            if (count == 0 && !isCut)
            {
                // A word that is longer than the window, or a run of blanks.
                length *= 2;
                continue;
            }

            if (count == 0)
            {
                (count, next) = last > 0 && tokens.Offsets.Span[last].Start > 0
                    ? (last, start + tokens.Offsets.Span[last].Start)
                    : throw new ServerException(ErrorKind.NotSupported, $"The model takes {info.MaxTokens} tokens, and one character has more. Raise its limit.");
            }

            yield return Part(skipped, count, isLast: false);
            (start, length) = (next, info.MaxTokens * CharactersPerToken);

            TokenPart Part(int from, int to, bool isLast) => new(text, start, tokens.Ids[from..to], tokens.Offsets[from..to], isLast);
        }
    }

    /// <summary>Returns the number of tokens before the last end of a word, and the position of that end; 0 tokens for a text without such an end.</summary>
    private static (int Count, int End) FindWordEnd(string text, int start, ReadOnlySpan<StellaTokenOffset> offsets)
    {
        for (int i = offsets.Length - 1; i >= 0; i--)
        {
            if (!offsets[i].IsEmpty && IsWordEnd(text, start + offsets[i].End))
            {
                return (i + 1, start + offsets[i].End);
            }
        }

        return default;
    }

    /// <summary>Returns the first token of the last character that has tokens. Several tokens may share a character.</summary>
    private static int FindLast(ReadOnlySpan<StellaTokenOffset> offsets)
    {
        int last = offsets.Length - 1;
        while (last > 0 && offsets[last].IsEmpty)
        {
            last--;
        }

        int first = last;
        while (first > 0 && offsets[first - 1].End > offsets[last].Start)
        {
            first--;
        }

        return first;
    }

    /// <summary>Returns whether every tokenizer of the models ends a word at a position, whatever follows.</summary>
    /// <remarks>
    /// Both BERT and Qwen divide a text before white space, and between a letter or digit and a punctuation mark. But Qwen adds line breaks to
    /// the punctuation before them.
    /// </remarks>
    private static bool IsWordEnd(string text, int position)
    {
        if (position <= 0 || position >= text.Length || char.IsWhiteSpace(text[position - 1]))
        {
            return false;
        }

        bool followsWord = char.IsLetterOrDigit(text[position - 1]);
        char next = text[position];
        return char.IsWhiteSpace(next) ? followsWord || next is not ('\r' or '\n')
            : followsWord && (char.IsPunctuation(next) || (char.IsAscii(next) && char.IsSymbol(next)));
    }

    private async ValueTask<int> CountTokensBeforeTextAsync(CancellationToken cancellationToken)
    {
        if (tokensBeforeText is null)
        {
            StellaTokens probe = await TokenizeAsync(Probe, cancellationToken).ConfigureAwait(false);
            int count = 0;
            while (probe.Offsets.Span[count].IsEmpty)
            {
                count++;
            }

            tokensBeforeText = count;
        }

        return tokensBeforeText.Value;
    }

    private Task<StellaTokens> TokenizeAsync(string text, CancellationToken cancellationToken) =>
        PoolCalls.WaitForRoomAsync(() => pool.TokenizeWithOffsetsAsync(text, options, cancellationToken), cancellationToken);

    /// <summary>Returns the text to put before each text. The tokenizer knows the short names of prompts too, and refuses unknown ones.</summary>
    private async Task<string> GetPromptTextAsync(CancellationToken cancellationToken)
    {
        _ = await pool.TokenizeAsync([""], new StellaEmbedOptions { Prompt = prompt }, cancellationToken).ConfigureAwait(false);
        return options.Prompt == prompt ? ""
            : (Find(prompt.Name!, StringComparison.Ordinal) ?? Find(prompt.Name!, StringComparison.OrdinalIgnoreCase) ?? Find($"{prompt.Name}_query", StringComparison.OrdinalIgnoreCase))?.Text ?? "";

        StellaPromptInfo? Find(string name, StringComparison comparison) => info.Prompts.FirstOrDefault(known => known.Name.Equals(name, comparison));
    }

    private static StellaPrompt? FindEmptyPrompt(StellaModelInfo info)
    {
        if (info.Prompts.All(known => known.Name != StellaPrompt.Document.Name))
        {
            return StellaPrompt.Document;
        }

        return info.Prompts.FirstOrDefault(known => known.Text.Length == 0) is { } empty ? StellaPrompt.FromName(empty.Name) : null;
    }
}
