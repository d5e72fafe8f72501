using System.Globalization;

namespace StellaInterop.Memory;

/// <summary>Reads the small text files in which Linux reports memory. A missing or malformed file is not an error.</summary>
internal static class SystemText
{
    /// <summary>Returns the text of a file; <see langword="null"/> if it cannot be read.</summary>
    public static string? TryRead(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Parses a number of bytes. A number that does not fit becomes the largest number.</summary>
    public static long? Bytes(ReadOnlySpan<char> text)
    {
        text = text.Trim();
        return text.IsEmpty || text.ContainsAnyExceptInRange('0', '9') ? null
            : long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long bytes) ? bytes
            : long.MaxValue;
    }

    /// <summary>Returns the bytes of a key, in lines such as <c>anon 4096</c> and <c>RssAnon:    4 kB</c>.</summary>
    public static long? Field(string? text, string key)
    {
        foreach (ReadOnlySpan<char> line in text.AsSpan().EnumerateLines())
        {
            if (line.StartsWith(key, StringComparison.Ordinal) && line.Length > key.Length && line[key.Length] is ':' or ' ')
            {
                ReadOnlySpan<char> value = line[(key.Length + 1)..].Trim();
                return value.EndsWith("kB", StringComparison.Ordinal)
                    ? Bytes(value[..^2]) is { } kibibytes ? Saturating.Multiply(kibibytes, 1024) : null
                    : Bytes(value);
            }
        }

        return null;
    }
}
