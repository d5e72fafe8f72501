using System.Globalization;

namespace StellaInterop.Samples;

/// <summary>Text out of files and names on a terminal.</summary>
internal static class Terminal
{
    /// <summary>Escapes control characters, which could move the cursor or change the colours of what comes after.</summary>
    public static string Line(string text) => text.Any(char.IsControl)
        ? string.Concat(text.Select(c => char.IsControl(c) ? string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}") : c.ToString()))
        : text;
}
