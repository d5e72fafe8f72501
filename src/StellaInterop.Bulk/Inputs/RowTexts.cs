using System.Globalization;
using System.Text;

namespace StellaInterop.Bulk.Inputs;

/// <summary>Makes rows from the bytes or the string of a text. All formats judge a text by the same rules.</summary>
internal static class RowTexts
{
    // Encoding.UTF8 would silently replace invalid bytes by U+FFFD.
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Makes a row from a text in UTF-8. A zero byte is refused, because it is most likely a part of UTF-16.</summary>
    public static InputRow FromBytes(long number, string? id, ReadOnlySpan<byte> text)
    {
        int zero = text.IndexOf((byte)0);
        if (zero >= 0)
        {
            return AtFault(
                number, id, RowFaultKind.NotUnicode, Format($"The text has a zero byte at byte {zero}. Convert the file to UTF-8 if it is in UTF-16."), text.Length);
        }

        try
        {
            return new InputRow(number, id, StrictUtf8.GetString(text), null);
        }
        catch (DecoderFallbackException e)
        {
            return AtFault(number, id, RowFaultKind.NotUnicode, Format($"The text is not valid UTF-8 at byte {e.Index}. Convert the file to UTF-8."), text.Length);
        }
    }

    /// <summary>Makes a row that has no text.</summary>
    public static InputRow AtFault(long number, string? id, RowFaultKind kind, string message, long? textLength = null) =>
        new(number, id, null, new RowFault(kind, message, textLength));

    /// <summary>Makes a row that exceeds <see cref="RowReader.MaxRowBytes"/>.</summary>
    public static InputRow TooLong(long number, int maxRowBytes) => AtFault(
        number, null, RowFaultKind.RowTooLong, Format($"The row is longer than the limit of {maxRowBytes} bytes. Split it, or give the file line ends."));

    /// <summary>Returns an id in UTF-8 as a string; <see langword="null"/> if it is empty.</summary>
    public static string? ToId(ReadOnlySpan<byte> id) => id.IsEmpty ? null : Encoding.UTF8.GetString(id);

    public static string Format(FormattableString message) => message.ToString(CultureInfo.InvariantCulture);
}
