using System.Text;

namespace StellaInterop.ModelFiles;

/// <summary>Files that are something else than their names say, because a download or an editor went wrong.</summary>
/// <remarks>The native library recognises the same kinds, in the same words, in the files that it reads.</remarks>
internal static class WrongFile
{
    private const string Utf16 = "is text in UTF-16. Save it as UTF-8";

    private static readonly byte[][] HtmlTags =
        [.. new[] { "<!doctype", "<!--", "<html", "<head", "<body", "<title", "<?xml" }.Select(Encoding.ASCII.GetBytes)];

    /// <summary>Recognises a wrong file by its content, and says what to do about it; <see langword="null"/> for anything else.</summary>
    public static string? Recognize(ReadOnlySpan<byte> content)
    {
        if (content.StartsWith("version https://git-lfs.github.com/"u8))
        {
            return "is a pointer of Git LFS, and not the file that it points to. Get the file with git lfs pull, or download the model anew";
        }

        ReadOnlySpan<byte> text = content.TrimStart(" \t\n\r\f"u8);
        foreach (byte[] tag in HtmlTags)
        {
            if (text.Length >= tag.Length && Ascii.EqualsIgnoreCase(text[..tag.Length], tag))
            {
                return "is an HTML page, as a server sends it for a page about the file or for an error. Download the file itself";
            }
        }

        return content switch
        {
            [0xEF, 0xBB, 0xBF, ..] => "begins with a byte order mark. Save it as UTF-8 without one",
            [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..] => Utf16,
            // The first two characters of JSON are ASCII.
            [var a, 0, var b, 0, ..] when IsText(a) && IsText(b) => Utf16,
            [0, var a, 0, var b, ..] when IsText(a) && IsText(b) => Utf16,
            _ => null,
        };
    }

    private static bool IsText(byte value) => value is (> 0x20 and < 0x7F) or (byte)' ' or (byte)'\t' or (byte)'\n' or (byte)'\r' or (byte)'\f';
}
