using System.Globalization;

namespace StellaInterop.Samples;

/// <summary>Makes text from files and file names safe for a terminal.</summary>
internal static class Terminal
{
    /// <summary>Escapes control characters, which could move the cursor or change colours.</summary>
    public static string Escape(string text) => text.Any(char.IsControl)
        ? string.Concat(text.Select(c => char.IsControl(c) ? string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}") : c.ToString()))
        : text;
}
