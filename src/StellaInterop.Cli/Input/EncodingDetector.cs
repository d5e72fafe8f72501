using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;

namespace StellaInterop.Cli.Input;

/// <summary>Detects input in UTF-16 or UTF-32, which PowerShell 5 and editors of Windows write.</summary>
internal static class EncodingDetector
{
    /// <summary>The number of bytes at the beginning of an input that <see cref="Detect"/> needs.</summary>
    public const int SampleBytes = 4 << 10;

    private const int LastUnicodePlane = 0x10;

    /// <summary>Returns the name of the encoding that the byte order mark specifies.</summary>
    /// <returns>The name; <see langword="null"/> for UTF-8 and for an input without a byte order mark.</returns>
    public static string? FromByteOrderMark(ReadOnlySpan<byte> beginning) => beginning switch
    {
        [0xFF, 0xFE, 0, 0, ..] => "UTF-32LE",
        [0, 0, 0xFE, 0xFF, ..] => "UTF-32BE",
        [0xFF, 0xFE, ..] => "UTF-16LE",
        [0xFE, 0xFF, ..] => "UTF-16BE",
        _ => null,
    };

    /// <summary>Returns the name of the encoding of an input that is not UTF-8 text.</summary>
    /// <param name="beginning">The beginning of the input.</param>
    /// <returns>The name; <see langword="null"/> if the bytes are in neither UTF-16 nor UTF-32.</returns>
    public static string? Detect(ReadOnlySpan<byte> beginning) =>
        FromByteOrderMark(beginning) ?? DetectUtf32(beginning) ?? DetectUtf16(beginning);

    /// <summary>Returns a message that explains how to convert an input to UTF-8.</summary>
    public static string GetAdvice(string encoding) =>
        $"The input looks like {encoding}. Convert it to UTF-8: in PowerShell with Get-Content FILE | Set-Content -Encoding utf8 NEW, "
        + $"elsewhere with iconv -f {encoding} -t UTF-8 FILE > NEW.";

    private static string? DetectUtf32(ReadOnlySpan<byte> text)
    {
        bool little = text.Length >= sizeof(int), big = little;
        for (int i = 0; i + sizeof(int) <= text.Length; i += sizeof(int))
        {
            little &= IsScalar(BinaryPrimitives.ReadUInt32LittleEndian(text[i..]));
            big &= IsScalar(BinaryPrimitives.ReadUInt32BigEndian(text[i..]));
        }

        return little ? "UTF-32LE" : big ? "UTF-32BE" : null;

        static bool IsScalar(uint value) => value is not 0 && Rune.IsValid(value) && value >> 16 <= LastUnicodePlane;
    }

    /// <summary>
    /// Latin letters have a zero byte in UTF-16, so an input is UTF-16 if at least half of its characters have a zero byte on the
    /// same side. In other scripts only spaces and line ends have a zero byte. Such an input must also be invalid UTF-8, because
    /// UTF-8 text may have a stray zero byte.
    /// </summary>
    private static string? DetectUtf16(ReadOnlySpan<byte> text)
    {
        int pairs = text.Length / 2, little = 0, big = 0, littleEndianBlanks = 0, bigEndianBlanks = 0;
        for (int i = 0; i + 2 <= text.Length; i += 2)
        {
            switch (text[i], text[i + 1])
            {
                case (0, 0):
                    break;
                case (var low, 0):
                    little++;
                    littleEndianBlanks += low is (byte)' ' or (byte)'\n' ? 1 : 0;
                    break;
                case (0, var low):
                    big++;
                    bigEndianBlanks += low is (byte)' ' or (byte)'\n' ? 1 : 0;
                    break;
                default:
                    break;
            }
        }

        bool isUtf8 = Utf8.IsValid(text);
        bool isLittle = (littleEndianBlanks > 0 && !isUtf8) || (little > 0 && little * 2 >= pairs);
        bool isBig = (bigEndianBlanks > 0 && !isUtf8) || (big > 0 && big * 2 >= pairs);
        return (isLittle, isBig) switch
        {
            (true, false) => "UTF-16LE",
            (false, true) => "UTF-16BE",
            _ => null,
        };
    }
}
