using System.Globalization;
using System.Text;

namespace StellaInterop.Splitting;

/// <summary>Specifies the kind of a position at which a text can be cut. A higher value is a better cut.</summary>
internal enum BoundaryKind
{
    /// <summary>Inside a word.</summary>
    None = 0,

    /// <summary>After a word.</summary>
    Word = 1,

    /// <summary>After a line.</summary>
    Line = 2,

    /// <summary>After a sentence.</summary>
    Sentence = 3,

    /// <summary>After a paragraph.</summary>
    Paragraph = 4,

    /// <summary>Before a Markdown heading.</summary>
    Section = 5,
}

/// <summary>Finds the ends of paragraphs, sentences, lines, words and characters.</summary>
/// <remarks>
/// The rules are a small part of Unicode's text segmentation (UAX #29), without its tables: .NET has these only with ICU, and
/// programs may run without ICU. Only grapheme clusters come from the runtime, which always knows them.
/// </remarks>
internal static class TextBoundary
{
    /// <summary>Marks that end a sentence if white space follows.</summary>
    private const string Terminators = ".!?…؟۔।॥።။៕‼⁇⁈⁉";

    /// <summary>Marks that end a sentence in scripts that put no space after it.</summary>
    private const string WideTerminators = "。！？｡．";

    /// <summary>Marks that end a clause in these scripts, and the zero-width space, which separates words in some of them.</summary>
    private const string WideClauseMarks = "，、；：､\u200b";

    /// <summary>The largest number of quotes and brackets between the end of a sentence and its terminator.</summary>
    private const int MaxClosers = 8;

    /// <summary>Returns the boundary at a position. A position after white space is not a boundary.</summary>
    public static BoundaryKind At(ReadOnlySpan<char> text, int position)
    {
        if (position <= 0 || position >= text.Length || char.IsWhiteSpace(text[position - 1]))
        {
            return BoundaryKind.None;
        }

        if (char.IsWhiteSpace(text[position]))
        {
            return AtSpace(text, position);
        }

        if (Combines(text[position..]) || IsCloser(text[position]) || WideTerminators.Contains(text[position], StringComparison.Ordinal))
        {
            return BoundaryKind.None;
        }

        return WideTerminators.Contains(BeforeClosers(text[..position]), StringComparison.Ordinal) ? BoundaryKind.Sentence
            : WideClauseMarks.Contains(text[position - 1], StringComparison.Ordinal) ? BoundaryKind.Word
            : BoundaryKind.None;
    }

    /// <summary>Returns the best end in a range of positions; 0 if the range is inside a word.</summary>
    /// <param name="text">The text, with some characters after <paramref name="last"/> unless it ends there.</param>
    /// <param name="first">Ends of sentences, lines and words before this position do not count.</param>
    /// <param name="middle">An end of a paragraph before this position counts as the end of a sentence.</param>
    /// <param name="last">The last position.</param>
    public static int LastEnd(ReadOnlySpan<char> text, int first, int middle, int last)
    {
        (BoundaryKind kind, int end) best = default;
        for (int position = last; position >= first && best.kind != BoundaryKind.Section; position--)
        {
            BoundaryKind kind = At(text, position);
            if (position < middle && kind > BoundaryKind.Sentence)
            {
                kind = BoundaryKind.Sentence;
            }

            if (kind > best.kind)
            {
                best = (kind, position);
            }
        }

        return best.end;
    }

    /// <summary>
    /// Returns the first position in a range at which a sentence begins; otherwise a word; otherwise a character; otherwise
    /// <paramref name="end"/>.
    /// </summary>
    public static int FirstBegin(ReadOnlySpan<char> text, int first, int end)
    {
        int word = 0;
        for (int position = first; position < end; position++)
        {
            if (!char.IsWhiteSpace(text[position]))
            {
                BoundaryKind kind = At(text, text[..position].TrimEnd().Length);
                if (kind >= BoundaryKind.Sentence)
                {
                    return position;
                }

                bool begins = char.IsWhiteSpace(text[position - 1]) || kind != BoundaryKind.None;
                word = word == 0 && begins ? position : word;
            }
        }

        return word != 0 ? word : FirstCharacter(text, first, end);
    }

    /// <summary>
    /// Returns the last end of a whole character at or before a position. If the first character is longer, returns an end inside it.
    /// </summary>
    /// <param name="text">The text.</param>
    /// <param name="first">A position at which a character begins.</param>
    /// <param name="last">A later position.</param>
    public static int LastCharacterEnd(ReadOnlySpan<char> text, int first, int last)
    {
        int end = first;
        while (end < last)
        {
            int next = end + StringInfo.GetNextTextElementLength(text[end..]);
            if (next > last)
            {
                break;
            }

            end = next;
        }

        return end > first ? end : Math.Max(first + FirstScalar(text[first..]), NotInPair(text, last));
    }

    /// <summary>Returns the length of the first Unicode scalar of a text, in UTF-16 units.</summary>
    public static int FirstScalar(ReadOnlySpan<char> text) => text.Length > 1 && char.IsSurrogatePair(text[0], text[1]) ? 2 : 1;

    /// <summary>Returns a position, or the position before it if it is inside a surrogate pair.</summary>
    public static int NotInPair(ReadOnlySpan<char> text, int position) =>
        position > 0 && position < text.Length && char.IsSurrogatePair(text[position - 1], text[position]) ? position - 1 : position;

    private static BoundaryKind AtSpace(ReadOnlySpan<char> text, int position)
    {
        int breaks = 0;
        int next = position;
        for (; next < text.Length && char.IsWhiteSpace(text[next]); next++)
        {
            breaks += text[next] switch
            {
                '\f' or '\u2029' => 2,
                '\n' or '\u0085' or '\u2028' => 1,
                '\r' when next + 1 == text.Length || text[next + 1] != '\n' => 1,
                _ => 0,
            };
        }

        if (breaks > 0 && IsHeading(text[next..]))
        {
            return BoundaryKind.Section;
        }

        if (breaks >= 2)
        {
            return BoundaryKind.Paragraph;
        }

        char mark = BeforeClosers(text[..position]);
        bool ends = Terminators.Contains(mark, StringComparison.Ordinal) || WideTerminators.Contains(mark, StringComparison.Ordinal);

        // UAX #29, rule SB8: a full stop before a lower case letter belongs to an abbreviation.
        bool abbreviates = mark == '.' && next < text.Length && char.IsLower(text[next]);
        return ends && !abbreviates ? BoundaryKind.Sentence : breaks > 0 ? BoundaryKind.Line : BoundaryKind.Word;
    }

    /// <summary>Whether a text begins with one to six number signs and a space.</summary>
    private static bool IsHeading(ReadOnlySpan<char> text)
    {
        int signs = text.IndexOfAnyExcept('#');
        return signs is >= 1 and <= 6 && text[signs] == ' ';
    }

    private static char BeforeClosers(ReadOnlySpan<char> text)
    {
        int last = text.Length - 1;
        for (int closers = 0; last > 0 && closers < MaxClosers && IsCloser(text[last]); closers++)
        {
            last--;
        }

        return text[last];
    }

    /// <summary>Whether a text begins with a mark that belongs to the character before it.</summary>
    private static bool Combines(ReadOnlySpan<char> text)
    {
        Rune.DecodeFromUtf16(text, out Rune mark, out _);
        return Rune.GetUnicodeCategory(mark)
            is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format;
    }

    private static bool IsCloser(char c) => c is '"' or '\'' or '*' or '_' or '`'
        || CharUnicodeInfo.GetUnicodeCategory(c) is UnicodeCategory.ClosePunctuation or UnicodeCategory.FinalQuotePunctuation;

    private static int FirstCharacter(ReadOnlySpan<char> text, int first, int end)
    {
        int position = 0;
        while (position < first)
        {
            position += StringInfo.GetNextTextElementLength(text[position..]);
        }

        return Math.Min(position, end);
    }
}
