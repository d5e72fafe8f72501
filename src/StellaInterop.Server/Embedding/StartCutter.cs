using System.Globalization;
using StellaInterop.Server.Fields;

namespace StellaInterop.Server.Embedding;

/// <summary>Cuts the beginning of texts that the model does not take as a whole. Thread-safe.</summary>
/// <remarks>
/// <para>
/// The cut is before the first word with which the rest of the text fits, special tokens and prompt included. A word that is longer than all
/// that follows it, as in text without blanks, is cut before a character.
/// </para>
/// <para>
/// The tokenizer cuts ends only, so the position is searched: the rest of a text that begins at a later word has fewer tokens. A text is
/// read from its end in steps that double, so the time depends on the limit of the model and not on the length of the text.
/// </para>
/// </remarks>
/// <param name="pool">The pool of the model.</param>
/// <param name="info">The properties of the model.</param>
/// <param name="options">The options of the texts.</param>
internal sealed class StartCutter(StellaEmbeddingPool pool, StellaModelInfo info, StellaEmbedOptions options)
{
    private readonly int shortTokens = EmbeddingRun.GetShortTokens(info);
    private readonly StellaEmbedOptions counting = options with { LongTextBehavior = StellaLongTextBehavior.Truncate };

    /// <summary>Returns texts without the beginnings that are too much.</summary>
    public async Task<string[]> TakeAsync(TextList texts, int start, int count, CancellationToken cancellationToken)
    {
        string[] taken = texts.Take(start, count);
        for (int i = 0; i < count; i++)
        {
            if (EmbeddingRun.BoundTokens(texts, start + i) > shortTokens)
            {
                taken[i] = await CutAsync(taken[i], cancellationToken).ConfigureAwait(false);
            }
        }

        return taken;
    }

    /// <summary>Returns a text without the beginning that is too much.</summary>
    public async Task<string> CutAsync(string text, CancellationToken cancellationToken)
    {
        int tooLong = 0;
        int fitting = text.Length;
        for (long length = info.MaxTokens; fitting > 0; length *= 2)
        {
            int start = Next(text, (int)Math.Max(0, text.Length - length), fitting, IsWord);
            if (!await FitsAsync(text, start, cancellationToken).ConfigureAwait(false))
            {
                tooLong = start;
                break;
            }

            fitting = start;
            if (length >= text.Length)
            {
                // Only blanks precede the first word.
                return await FitsAsync(text, 0, cancellationToken).ConfigureAwait(false) ? text : text[start..];
            }
        }

        int word = await SearchAsync(text, tooLong + 1, fitting, IsWord, cancellationToken).ConfigureAwait(false);
        int before = Previous(text, tooLong, word);
        return word - before > text.Length - word
            ? text[await SearchAsync(text, before + 1, word, IsCharacter, cancellationToken).ConfigureAwait(false)..]
            : text[word..];
    }

    /// <summary>Returns the first position of a kind in a range from which on the text fits, or the end of the range.</summary>
    private async Task<int> SearchAsync(string text, int begin, int end, Func<string, int, bool> isPosition, CancellationToken cancellationToken)
    {
        int found = end;
        while (begin < end)
        {
            int middle = begin + ((end - begin) / 2);
            int position = Next(text, middle, end, isPosition);
            if (position == end)
            {
                end = middle;
            }
            else if (await FitsAsync(text, position, cancellationToken).ConfigureAwait(false))
            {
                (found, end) = (position, position);
            }
            else
            {
                begin = position + 1;
            }
        }

        return found;
    }

    private async Task<bool> FitsAsync(string text, int start, CancellationToken cancellationToken)
    {
        string[] rest = [text[start..]];
        StellaTokens[] tokens = await PoolCalls.WaitForRoomAsync(() => pool.TokenizeAsync(rest, counting, cancellationToken), cancellationToken).ConfigureAwait(false);
        return !tokens[0].TokenCount.IsTruncated;
    }

    /// <summary>Returns the first position of a kind from <paramref name="begin"/> on, or <paramref name="end"/>.</summary>
    private static int Next(string text, int begin, int end, Func<string, int, bool> isPosition)
    {
        int position = begin;
        while (position < end && !isPosition(text, position))
        {
            position++;
        }

        return position;
    }

    /// <summary>Returns the last beginning of a word before <paramref name="end"/>, or <paramref name="begin"/>.</summary>
    private static int Previous(string text, int begin, int end)
    {
        int position = end - 1;
        while (position > begin && !IsWord(text, position))
        {
            position--;
        }

        return Math.Max(position, begin);
    }

    /// <summary>Returns whether a word begins at a position.</summary>
    private static bool IsWord(string text, int position) =>
        !char.IsWhiteSpace(text[position]) && (position == 0 || char.IsWhiteSpace(text[position - 1]));

    /// <summary>Returns whether a character begins at a position: neither half of one, nor a mark of the one before.</summary>
    private static bool IsCharacter(string text, int position) =>
        !char.IsLowSurrogate(text[position])
        && CharUnicodeInfo.GetUnicodeCategory(text, position) is not (UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format);
}
