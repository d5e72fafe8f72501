namespace StellaInterop.Bulk.Parquet;

/// <summary>Reads the encoding <c>DELTA_BINARY_PACKED</c>: differences of neighbours in blocks of packed bits.</summary>
internal static class DeltaNumbers
{
    /// <summary>Reads all numbers.</summary>
    /// <param name="bytes">The bytes of a page.</param>
    /// <param name="maxCount">The largest possible number of numbers, which bounds the memory.</param>
    /// <param name="position">The position of the first byte. Receives that after the last one.</param>
    public static long[] Read(ReadOnlySpan<byte> bytes, int maxCount, ref int position)
    {
        ulong blockValues = PackedBits.ReadVarint(bytes, ref position);
        ulong miniBlocks = PackedBits.ReadVarint(bytes, ref position);
        ulong total = PackedBits.ReadVarint(bytes, ref position);
        long value = PackedBits.ReadZigZag(bytes, ref position);
        if (miniBlocks is 0 or > 1 << 16 || blockValues > 1 << 24 || blockValues % (8 * miniBlocks) != 0 || total > (ulong)maxCount)
        {
            throw new InvalidDataException("A page has differences in blocks that are not valid.");
        }

        int perMiniBlock = (int)(blockValues / miniBlocks);
        long[] numbers = new long[total];
        int done = 0;
        if (numbers.Length > 0)
        {
            numbers[done++] = value;
        }

        while (done < numbers.Length)
        {
            long smallest = PackedBits.ReadZigZag(bytes, ref position);
            ReadOnlySpan<byte> widths = bytes.Slice(position, (int)miniBlocks);
            position += widths.Length;
            for (int i = 0; i < widths.Length && done < numbers.Length; i++)
            {
                int width = widths[i] <= 64 ? widths[i] : throw new InvalidDataException($"A page has differences of {widths[i]} bits.");
                for (int j = 0; j < perMiniBlock && done < numbers.Length; j++)
                {
                    value = unchecked(value + smallest + (long)PackedBits.Read(bytes, (position * 8L) + ((long)j * width), width));
                    numbers[done++] = value;
                }

                position = checked(position + (int)((long)perMiniBlock * width / 8));
            }
        }

        return numbers;
    }
}
