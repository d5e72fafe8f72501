using System.Runtime.InteropServices;

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
            // One pass over the values instead of four. Floats are most of the bytes of a run.
            ReadOnlySpan<uint> words = MemoryMarshal.Cast<byte, uint>(values);
            Span<byte> first = streams[..count], second = streams.Slice(count, count), third = streams.Slice(2 * count, count), fourth = streams.Slice(3 * count, count);
            for (int i = 0; i < words.Length; i++)
            {
                uint word = words[i];
                first[i] = (byte)word;
                second[i] = (byte)(word >> 8);
                third[i] = (byte)(word >> 16);
                fourth[i] = (byte)(word >> 24);
            }

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
