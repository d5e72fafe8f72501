namespace StellaInterop.Bulk.Parquet;

/// <summary>Reads numbers in Parquet's hybrid of runs and packed bits.</summary>
/// <param name="bytes">The runs.</param>
/// <param name="bitWidth">The number of bits of a number, 0 to 32.</param>
internal sealed class HybridReader(ReadOnlyMemory<byte> bytes, int bitWidth)
{
    private readonly int bitWidth = bitWidth is >= 0 and <= 32 ? bitWidth : throw new InvalidDataException($"A page has numbers of {bitWidth} bits.");
    private int position;
    private long equalLeft;
    private int equalValue;
    private long packedLeft;
    private long packedBit;

    public int Next()
    {
        if (bitWidth == 0)
        {
            return 0;
        }

        while (equalLeft == 0 && packedLeft == 0)
        {
            ReadHeader();
        }

        if (equalLeft > 0)
        {
            equalLeft--;
            return equalValue;
        }

        packedLeft--;
        long value = (long)PackedBits.Read(bytes.Span, packedBit, bitWidth);
        packedBit += bitWidth;
        return checked((int)value);
    }

    private void ReadHeader()
    {
        ulong header = PackedBits.ReadVarint(bytes.Span, ref position);
        long count = (long)(header >> 1);
        if ((header & 1) != 0)
        {
            packedLeft = checked(count * 8);
            packedBit = position * 8L;
            position = (int)Math.Min(position + checked(count * bitWidth), bytes.Length);
            return;
        }

        equalLeft = count;
        equalValue = checked((int)PackedBits.Read(bytes.Span, position * 8L, bitWidth));
        position += (bitWidth + 7) / 8;
    }
}
