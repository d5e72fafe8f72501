using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;

namespace StellaInterop.Cli;

/// <summary>Recognizes input that is not UTF-8 but another encoding of Unicode, as PowerShell 5 and editors of Windows write it.</summary>
internal static class InputEncoding
{
    /// <summary>Bytes of the beginning of an input that <see cref="Recognize"/> looks at.</summary>
    public const int SampleBytes = 4 << 10;

    private const int LastPlane = 0x10;

    /// <summary>Returns the name of the encoding that the byte order mark tells.</summary>
    /// <returns><see langword="null"/> for UTF-8 and for an input without a mark.</returns>
    public static string? ByMark(ReadOnlySpan<byte> beginning) => beginning switch
    {
        [0xFF, 0xFE, 0, 0, ..] => "UTF-32LE",
        [0, 0, 0xFE, 0xFF, ..] => "UTF-32BE",
        [0xFF, 0xFE, ..] => "UTF-16LE",
        [0xFE, 0xFF, ..] => "UTF-16BE",
        _ => null,
    };

    /// <summary>Returns the name of the encoding of an input in which bytes were found that UTF-8 text does not have.</summary>
    /// <param name="beginning">The beginning of the input.</param>
    /// <returns><see langword="null"/> for bytes that look like none of them.</returns>
    public static string? Recognize(ReadOnlySpan<byte> beginning) =>
        ByMark(beginning) ?? Utf32(beginning) ?? Utf16(beginning);

    /// <summary>Returns a sentence that says how to convert an input.</summary>
    public static string Advice(string encoding) =>
        $"The input looks like {encoding}. Convert it to UTF-8: in PowerShell with Get-Content FILE | Set-Content -Encoding utf8 NEW, "
        + $"elsewhere with iconv -f {encoding} -t UTF-8 FILE > NEW.";

    private static string? Utf32(ReadOnlySpan<byte> text)
    {
        bool little = text.Length >= sizeof(int), big = little;
        for (int i = 0; i + sizeof(int) <= text.Length; i += sizeof(int))
        {
            little &= IsScalar(BinaryPrimitives.ReadUInt32LittleEndian(text[i..]));
            big &= IsScalar(BinaryPrimitives.ReadUInt32BigEndian(text[i..]));
        }

        return little ? "UTF-32LE" : big ? "UTF-32BE" : null;

        static bool IsScalar(uint value) => value is not 0 && Rune.IsValid(value) && value >> 16 <= LastPlane;
    }

    /// <summary>
    /// Half of the characters have a zero byte on the same side, as Latin letters have. In text of other scripts, the spaces and line
    /// ends have one. It is no UTF-8 then, unlike a text with a stray zero byte.
    /// </summary>
    private static string? Utf16(ReadOnlySpan<byte> text)
    {
        int pairs = text.Length / 2, little = 0, big = 0, littleBlanks = 0, bigBlanks = 0;
        for (int i = 0; i + 2 <= text.Length; i += 2)
        {
            switch (text[i], text[i + 1])
            {
                case (0, 0):
                    break;
                case (var low, 0):
                    little++;
                    littleBlanks += low is (byte)' ' or (byte)'\n' ? 1 : 0;
                    break;
                case (0, var low):
                    big++;
                    bigBlanks += low is (byte)' ' or (byte)'\n' ? 1 : 0;
                    break;
                default:
                    break;
            }
        }

        bool isUtf8 = Utf8.IsValid(text);
        bool isLittle = (littleBlanks > 0 && !isUtf8) || (little > 0 && little * 2 >= pairs);
        bool isBig = (bigBlanks > 0 && !isUtf8) || (big > 0 && big * 2 >= pairs);
        return (isLittle, isBig) switch
        {
            (true, false) => "UTF-16LE",
            (false, true) => "UTF-16BE",
            _ => null,
        };
    }
}
