using System.Text;

namespace StellaInterop.ModelFiles;

/// <summary>Recognizes files whose content does not fit their name, because a download or an editor went wrong.</summary>
/// <remarks>The native library recognizes the same kinds of files, with the same messages.</remarks>
internal static class WrongFile
{
    private const string Utf16 = "is UTF-16 text. Save it as UTF-8";

    private static readonly byte[][] HtmlTags =
        [.. new[] { "<!doctype", "<!--", "<html", "<head", "<body", "<title", "<?xml" }.Select(Encoding.ASCII.GetBytes)];

    /// <summary>
    /// Returns the fault and the remedy of a file with the wrong content, without the final full stop; <see langword="null"/> for any
    /// other file.
    /// </summary>
    public static string? Recognize(ReadOnlySpan<byte> content)
    {
        if (content.StartsWith("version https://git-lfs.github.com/"u8))
        {
            return "is a Git LFS pointer, not the file that it points to. Get the file with 'git lfs pull', or download the model again";
        }

        ReadOnlySpan<byte> text = content.TrimStart(" \t\n\r\f"u8);
        foreach (byte[] tag in HtmlTags)
        {
            if (text.Length >= tag.Length && Ascii.EqualsIgnoreCase(text[..tag.Length], tag))
            {
                return "is an HTML page, such as an error page of a server or a page about the file. Download the file itself";
            }
        }

        return content switch
        {
            [0xEF, 0xBB, 0xBF, ..] => "begins with a byte order mark. Save it as UTF-8 without a byte order mark",
            [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..] => Utf16,
            // The first two characters of JSON are ASCII.
            [var a, 0, var b, 0, ..] when IsText(a) && IsText(b) => Utf16,
            [0, var a, 0, var b, ..] when IsText(a) && IsText(b) => Utf16,
            _ => null,
        };
    }

    private static bool IsText(byte value) => value is (> 0x20 and < 0x7F) or (byte)' ' or (byte)'\t' or (byte)'\n' or (byte)'\r' or (byte)'\f';
}
