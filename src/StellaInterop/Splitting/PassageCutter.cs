using System.Globalization;
using StellaInterop.Interop;

namespace StellaInterop.Splitting;

/// <summary>Cuts one text into passages. Reads little more of the text than the next passage.</summary>
/// <remarks>
/// The cutter tokenizes a window of the text, and the offsets of the tokens show how far a passage can reach. The passage ends at the best
/// boundary before that position. It is then tokenized by itself, because the tokens at a cut differ from those of the whole text.
/// </remarks>
internal sealed class PassageCutter(
    StellaModel model, StellaEmbedOptions options, TokenCounter counter, int maxTokens, int extraTokens, int overlapTokens)
{
    /// <summary>
    /// The largest number of characters per token of a passage. It bounds the memory for texts with few tokens, such as long runs of
    /// blanks or words that are one unknown token. Prose has four or five characters per token.
    /// </summary>
    private const int MaxCharactersPerToken = 64;

    /// <summary>The number of characters per token that the first window assumes.</summary>
    private const int UsualCharactersPerToken = 6;

    /// <summary>The number of characters after a window that decide which boundary its end is.</summary>
    private const int LookAhead = 256;

    private readonly int maxWindow = (maxTokens * MaxCharactersPerToken) + LookAhead;
    private int windowLength = (maxTokens * UsualCharactersPerToken) + LookAhead;

    /// <summary>Returns the passages of a text, in order.</summary>
    public IEnumerable<StellaPassage> Cut(TextReader reader, CancellationToken cancellationToken)
    {
        var window = new TextWindow(reader, maxWindow + LookAhead, options.InvalidTextBehavior);

        // The number of characters at the beginning of the window that the previous passage has too.
        int overlap = 0;
        while (overlap > 0 || window.SkipWhiteSpace())
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (Rest(window) is { } rest)
            {
                yield return rest;
                yield break;
            }

            TokensWithOffsets tokens = Tokenize(window, out int length);
            if (Next(window, tokens, length, overlap) is not { } passage)
            {
                // No new text fits together with the overlap.
                window.Advance(overlap);
                overlap = 0;
                continue;
            }

            yield return passage;
            overlap = Advance(window, tokens, passage.Text.Length);
        }
    }

    /// <summary>
    /// Returns the rest of the text if it fits into one passage; otherwise <see langword="null"/>. Most texts fit as a whole.
    /// </summary>
    private StellaPassage? Rest(TextWindow window)
    {
        window.Fill(windowLength + LookAhead);
        if (!window.Ended || window.Text.Length > windowLength)
        {
            return null;
        }

        string rest = new(window.Text.TrimEnd());
        StellaTokenCount count = counter.Count(rest);
        return Fits(count) ? new StellaPassage { Text = rest, Start = window.Position, TokenCount = count.Total } : null;
    }

    /// <summary>Tokenizes the part of the window that a passage may need.</summary>
    private TokensWithOffsets Tokenize(TextWindow window, out int length)
    {
        while (true)
        {
            window.Fill(windowLength + LookAhead);
            ReadOnlySpan<char> text = window.Text;
            bool all = window.Ended && text.Length <= windowLength;
            length = text[..TextBoundary.NotInPair(text, Math.Min(windowLength, text.Length))].TrimEnd().Length;
            TokensWithOffsets tokens = model.Tokenizer.TokenizeWithOffsets(new string(text[..length]), options);
            if (all || windowLength == maxWindow || !Fits(tokens.TokenCount))
            {
                return tokens;
            }

            windowLength = Math.Min(windowLength * 2, maxWindow);
        }
    }

    /// <summary>
    /// Returns the passage at the beginning of the window; <see langword="null"/> if no new text fits together with the overlap.
    /// </summary>
    private StellaPassage? Next(TextWindow window, TokensWithOffsets tokens, int length, int overlap)
    {
        ReadOnlySpan<char> text = window.Text;
        if (Fits(tokens.TokenCount) && text[length..].IsWhiteSpace() && window.Ended)
        {
            return new StellaPassage { Text = new string(text[..length]), Start = window.Position, TokenCount = tokens.TokenCount.Total };
        }

        int reach = Reach(tokens, length, maxTokens - extraTokens);

        // A quarter more than fits, so that the next window is rarely too small.
        windowLength = Math.Clamp((reach * 5 / 4) + LookAhead, LookAhead, maxWindow);
        int newStart = text[overlap..].Length - text[overlap..].TrimStart().Length + overlap;

        // The end of the first new character. With an overlap, a passage must reach it; otherwise the overlap is dropped.
        int firstCharacterEnd = Math.Min(newStart + StringInfo.GetNextTextElementLength(text[newStart..]), Math.Max(length, newStart + 1));
        int minReach = overlap > 0 ? firstCharacterEnd : newStart + TextBoundary.FirstScalar(text[newStart..]);
        reach = overlap > 0 ? reach : Math.Max(reach, firstCharacterEnd);
        while (reach >= minReach || overlap == 0)
        {
            reach = Math.Max(reach, minReach);
            int end = End(text, newStart, reach);
            string passage = new(text[..end]);
            StellaTokenCount count = counter.Count(passage);
            if (Fits(count))
            {
                return new StellaPassage { Text = passage, Start = window.Position, TokenCount = count.Total };
            }

            if (end <= minReach && overlap == 0)
            {
                throw new StellaInputException(
                    StellaErrorCode.TextTooLong,
                    $"The character at {window.Position + newStart} alone has {count.Total} tokens; a passage has at most {maxTokens}. Set a larger MaxTokens.",
                    textIndex: 0);
            }

            // The offsets are those of the window. A word that is one unknown token there may have many tokens when it is cut.
            int lastToken = Array.FindLastIndex(tokens.Offsets, offset => !offset.IsEmpty && offset.Start < end) - Math.Max(count.Total - maxTokens, 1);
            reach = Math.Max(lastToken < 0 ? 0 : tokens.Offsets[lastToken + 1].Start, newStart + ((end - newStart) / 2));
            reach = Math.Min(end > firstCharacterEnd ? Math.Max(reach, firstCharacterEnd) : reach, end - 1);
        }

        return null;
    }

    /// <summary>Returns the position up to which a window has <paramref name="room"/> tokens.</summary>
    private int Reach(TokensWithOffsets tokens, int length, int room)
    {
        int seen = 0;
        int end = 0;
        foreach (StellaTokenOffset offset in tokens.Offsets)
        {
            if (!offset.IsEmpty && seen++ == room)
            {
                return offset.Start;
            }

            end = Math.Max(end, offset.End);
        }

        return Fits(tokens.TokenCount) ? length : Math.Min(end, length - 1);
    }

    /// <summary>
    /// Returns the best end of a passage whose new text begins at <paramref name="newStart"/>; at most <paramref name="reach"/>.
    /// </summary>
    private static int End(ReadOnlySpan<char> text, int newStart, int reach)
    {
        // A paragraph is cut if the passage would be less than half full otherwise; a sentence or a word, if less than a quarter full.
        int quarter = (reach - newStart) / 4;
        int end = TextBoundary.LastEnd(text, newStart + Math.Max(quarter, 1), newStart + (2 * quarter), reach);
        return end > 0 ? end : text[..TextBoundary.LastCharacterEnd(text, newStart, reach)].TrimEnd().Length;
    }

    /// <summary>Moves the window to the next passage.</summary>
    /// <returns>The number of characters of the overlap: the end of this passage that the next passage repeats.</returns>
    private int Advance(TextWindow window, TokensWithOffsets tokens, int end)
    {
        int begin = overlapTokens > 0 ? OverlapBegin(window.Text, tokens, end) : end;
        window.Fill(end + LookAhead);
        bool hasMore = !window.Text[end..].IsWhiteSpace();
        if (begin == end || !hasMore)
        {
            // There is no overlap, or only white space follows within the look-ahead.
            window.Advance(end);
            return 0;
        }

        window.Advance(begin);
        return end - begin;
    }

    private int OverlapBegin(ReadOnlySpan<char> text, TokensWithOffsets tokens, int end)
    {
        int last = Array.FindLastIndex(tokens.Offsets, offset => !offset.IsEmpty && offset.Start < end);
        int first = last - overlapTokens + 1;
        int begin = first < 0 ? 1 : Math.Max(tokens.Offsets[first].Start, 1);
        while (begin < end)
        {
            begin = TextBoundary.FirstBegin(text[..end], begin, end);
            if (begin == end || counter.Count(new string(text[begin..end])).Total - extraTokens <= overlapTokens)
            {
                break;
            }

            begin++;
        }

        return begin;
    }

    private bool Fits(StellaTokenCount count) => !count.IsTruncated && count.Total <= maxTokens;
}
