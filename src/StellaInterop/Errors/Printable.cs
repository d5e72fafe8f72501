using System.Buffers;
using System.Text;

namespace StellaInterop;

/// <summary>Escapes text from files, servers and command lines, so that it is safe for a terminal and a log.</summary>
/// <remarks>
/// A control character moves a terminal's cursor, sets its title or runs its commands. A line break forges a line of a log. A
/// bidirectional control reorders the text on the screen. Each becomes an escape such as <c>\n</c> or <c>\u{1b}</c>; all other
/// text stays as it is.
/// </remarks>
internal static class Printable
{
    /// <summary>The line and paragraph separators, and the controls of Unicode's bidirectional algorithm.</summary>
    private const string Separators = "\u2028\u2029\u061C\u200E\u200F\u202A\u202B\u202C\u202D\u202E\u2066\u2067\u2068\u2069";

    private static readonly SearchValues<char> Unsafe = SearchValues.Create(Controls() + Separators);

    /// <summary>Escapes every unsafe character, line breaks and tabs included.</summary>
    public static string Line(string text)
    {
        int first = text.AsSpan().IndexOfAny(Unsafe);
        return first < 0 ? text : Escape(text, first, keepsLayout: false);
    }

    /// <summary>Escapes every unsafe character except line breaks and tabs, for text of several lines.</summary>
    public static string Lines(string text)
    {
        int first = text.AsSpan().IndexOfAny(Unsafe);
        return first < 0 ? text : Escape(text, first, keepsLayout: true);
    }

    /// <summary>Returns whether a text has no unsafe character.</summary>
    public static bool IsSafe(ReadOnlySpan<char> text) => !text.ContainsAny(Unsafe);

    private static string Escape(string text, int first, bool keepsLayout)
    {
        var result = new StringBuilder(text, 0, first, text.Length + 16);
        for (int i = first; i < text.Length; i++)
        {
            char c = text[i];
            bool isLayout = c is '\n' or '\t' || (c == '\r' && i + 1 < text.Length && text[i + 1] == '\n');
            _ = !Unsafe.Contains(c) || (keepsLayout && isLayout) ? result.Append(c) : c switch
            {
                '\n' => result.Append(@"\n"),
                '\r' => result.Append(@"\r"),
                '\t' => result.Append(@"\t"),
                _ => result.Append(System.Globalization.CultureInfo.InvariantCulture, $@"\u{{{(int)c:x}}}"),
            };
        }

        return result.ToString();
    }

    private static string Controls() =>
        string.Concat(Enumerable.Range(0, 0xA0).Select(code => (char)code).Where(char.IsControl));
}
