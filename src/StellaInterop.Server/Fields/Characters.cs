using System.Text;

namespace StellaInterop.Server.Fields;

/// <summary>Counts the characters of texts: Unicode scalars, and neither bytes nor UTF-16 units.</summary>
internal static class Characters
{
    public static int Count(ReadOnlySpan<char> text)
    {
        int count = 0;
        foreach (Rune _ in text.EnumerateRunes())
        {
            count++;
        }

        return count;
    }

    /// <summary>Counts the characters of valid UTF-8.</summary>
    public static int Count(ReadOnlySpan<byte> text)
    {
        if (Ascii.IsValid(text))
        {
            return text.Length;
        }

        int count = 0;
        foreach (byte value in text)
        {
            // A byte 10xxxxxx continues a character.
            count += (value & 0xC0) == 0x80 ? 0 : 1;
        }

        return count;
    }
}
