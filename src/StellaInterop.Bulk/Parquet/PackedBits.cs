namespace StellaInterop.Bulk.Parquet;

/// <summary>Reads numbers that are not at the begin of a byte.</summary>
internal static class PackedBits
{
    /// <summary>Returns the number at a bit. The lowest bits come first.</summary>
    /// <param name="bytes">The bytes.</param>
    /// <param name="bit">The index of the first bit.</param>
    /// <param name="width">The number of bits, at most 64.</param>
    public static ulong Read(ReadOnlySpan<byte> bytes, long bit, int width)
    {
        ulong value = 0;
        int read = 0;
        while (read < width)
        {
            int offset = (int)(bit & 7);
            int count = Math.Min(8 - offset, width - read);
            ulong part = ((ulong)bytes[checked((int)(bit >> 3))] >> offset) & ((1UL << count) - 1);
            value |= part << read;
            read += count;
            bit += count;
        }

        return value;
    }

    public static ulong ReadVarint(ReadOnlySpan<byte> bytes, ref int position)
    {
        ulong value = 0;
        for (int shift = 0; shift < 64 && position < bytes.Length; shift += 7)
        {
            byte part = bytes[position++];
            value |= (ulong)(part & 0x7F) << shift;
            if (part < 0x80)
            {
                return value;
            }
        }

        throw new InvalidDataException("The Parquet file is damaged: a number does not end.");
    }

    public static long ReadZigZag(ReadOnlySpan<byte> bytes, ref int position)
    {
        ulong value = ReadVarint(bytes, ref position);
        return (long)(value >> 1) ^ -(long)(value & 1);
    }
}
