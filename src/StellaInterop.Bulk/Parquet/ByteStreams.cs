using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace StellaInterop.Bulk.Parquet;

/// <summary>
/// Implements the encoding <c>BYTE_STREAM_SPLIT</c>: the first bytes of all values, then the second bytes, and so on. Exponents are then
/// beside exponents, which compress well.
/// </summary>
internal static class ByteStreams
{
    /// <summary>Splits values into streams.</summary>
    /// <param name="values">The values, each of <paramref name="valueBytes"/> bytes.</param>
    /// <param name="streams">Receives as many bytes.</param>
    /// <param name="valueBytes">The number of bytes of a value.</param>
    public static void Split(ReadOnlySpan<byte> values, Span<byte> streams, int valueBytes)
    {
        int count = values.Length / valueBytes;
        if (valueBytes == sizeof(uint))
        {
            SplitWords(MemoryMarshal.Cast<byte, uint>(values), streams[..count], streams.Slice(count, count), streams.Slice(2 * count, count), streams.Slice(3 * count, count));
            return;
        }

        for (int stream = 0; stream < valueBytes; stream++)
        {
            for (int i = 0; i < count; i++)
            {
                streams[(stream * count) + i] = values[(i * valueBytes) + stream];
            }
        }
    }

    /// <summary>Splits 32-bit values in one pass. Floats are most of the bytes of a run.</summary>
    private static void SplitWords(ReadOnlySpan<uint> words, Span<byte> first, Span<byte> second, Span<byte> third, Span<byte> fourth)
    {
        int i = 0;
        for (; i <= words.Length - Vector128<byte>.Count; i += Vector128<byte>.Count)
        {
            Vector128<uint> a = Vector128.Create(words[i..]);
            Vector128<uint> b = Vector128.Create(words[(i + 4)..]);
            Vector128<uint> c = Vector128.Create(words[(i + 8)..]);
            Vector128<uint> d = Vector128.Create(words[(i + 12)..]);
            LowBytes(a, b, c, d).CopyTo(first[i..]);
            LowBytes(a >>> 8, b >>> 8, c >>> 8, d >>> 8).CopyTo(second[i..]);
            LowBytes(a >>> 16, b >>> 16, c >>> 16, d >>> 16).CopyTo(third[i..]);
            LowBytes(a >>> 24, b >>> 24, c >>> 24, d >>> 24).CopyTo(fourth[i..]);
        }

        for (; i < words.Length; i++)
        {
            uint word = words[i];
            first[i] = (byte)word;
            second[i] = (byte)(word >> 8);
            third[i] = (byte)(word >> 16);
            fourth[i] = (byte)(word >> 24);
        }
    }

    private static Vector128<byte> LowBytes(Vector128<uint> a, Vector128<uint> b, Vector128<uint> c, Vector128<uint> d) =>
        Vector128.Narrow(Vector128.Narrow(a, b), Vector128.Narrow(c, d));

    /// <summary>Joins streams to values.</summary>
    /// <param name="streams">The streams.</param>
    /// <param name="values">Receives as many bytes.</param>
    /// <param name="valueBytes">The number of bytes of a value.</param>
    public static void Join(ReadOnlySpan<byte> streams, Span<byte> values, int valueBytes)
    {
        int count = values.Length / valueBytes;
        for (int stream = 0; stream < valueBytes; stream++)
        {
            for (int i = 0; i < count; i++)
            {
                values[(i * valueBytes) + stream] = streams[(stream * count) + i];
            }
        }
    }
}
