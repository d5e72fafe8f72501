using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Reads the values of a page in order, without its nulls.</summary>
internal abstract class PageValues
{
    /// <summary>Returns the bytes of the next value, valid until the next call. A number has them in little-endian order.</summary>
    public abstract ReadOnlySpan<byte> Next();

    /// <summary>Creates the reader of an encoding.</summary>
    /// <param name="encoding">The encoding.</param>
    /// <param name="bytes">The encoded values.</param>
    /// <param name="count">The number of values, or more with nulls.</param>
    /// <param name="valueBytes">The number of bytes of a value; 0 if it varies.</param>
    /// <param name="dictionary">The values of the dictionary page; <see langword="null"/> without one.</param>
    /// <exception cref="InvalidDataException">The encoding is not supported, or the bytes are not valid.</exception>
    public static PageValues Create(
        ParquetEncoding encoding, ReadOnlyMemory<byte> bytes, int count, int valueBytes, IReadOnlyList<ReadOnlyMemory<byte>>? dictionary) => encoding switch
        {
            ParquetEncoding.Plain => valueBytes > 0 ? new FixedValues(bytes, valueBytes) : new PrefixedValues(bytes),
            ParquetEncoding.PlainDictionary or ParquetEncoding.RleDictionary when dictionary is not null => new DictionaryValues(bytes, dictionary),
            ParquetEncoding.ByteStreamSplit when valueBytes > 0 => new FixedValues(Join(bytes.Span, valueBytes), valueBytes),
            ParquetEncoding.DeltaBinaryPacked when valueBytes is sizeof(int) or sizeof(long) => new FixedValues(ReadNumbers(bytes.Span, count, valueBytes), valueBytes),
            ParquetEncoding.DeltaLengthByteArray when valueBytes == 0 => new DeltaLengthValues(bytes, count),
            ParquetEncoding.DeltaByteArray => new DeltaValues(bytes, count),
            _ => throw new InvalidDataException($"A page has the encoding {encoding}, which is not supported here."),
        };

    private static byte[] Join(ReadOnlySpan<byte> streams, int valueBytes)
    {
        byte[] values = new byte[streams.Length / valueBytes * valueBytes];
        ByteStreams.Join(streams[..values.Length], values, valueBytes);
        return values;
    }

    private static byte[] ReadNumbers(ReadOnlySpan<byte> bytes, int count, int valueBytes)
    {
        int position = 0;
        long[] numbers = DeltaNumbers.Read(bytes, count, ref position);
        return valueBytes == sizeof(long)
            ? MemoryMarshal.AsBytes<long>(numbers).ToArray()
            : MemoryMarshal.AsBytes<int>(Array.ConvertAll(numbers, number => unchecked((int)number))).ToArray();
    }

    private sealed class FixedValues(ReadOnlyMemory<byte> bytes, int valueBytes) : PageValues
    {
        private int position;

        public override ReadOnlySpan<byte> Next()
        {
            ReadOnlySpan<byte> value = bytes.Span.Slice(position, valueBytes);
            position += valueBytes;
            return value;
        }
    }

    /// <summary>Reads values that are preceded by their length.</summary>
    private sealed class PrefixedValues(ReadOnlyMemory<byte> bytes) : PageValues
    {
        private int position;

        public override ReadOnlySpan<byte> Next()
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(bytes.Span[position..]);
            ReadOnlySpan<byte> value = bytes.Span.Slice(position + sizeof(int), length);
            position += sizeof(int) + length;
            return value;
        }
    }

    /// <summary>Reads indices of a dictionary. The first byte is their number of bits.</summary>
    private sealed class DictionaryValues(ReadOnlyMemory<byte> bytes, IReadOnlyList<ReadOnlyMemory<byte>> dictionary) : PageValues
    {
        // A page whose values are all null may be empty.
        private readonly HybridReader? indices = bytes.IsEmpty ? null : new HybridReader(bytes[1..], bytes.Span[0]);

        public override ReadOnlySpan<byte> Next() =>
            dictionary[indices?.Next() ?? throw new InvalidDataException("A page has fewer values than its header says.")].Span;
    }

    /// <summary>Reads all lengths first, and then the bytes of all values.</summary>
    private sealed class DeltaLengthValues : PageValues
    {
        private readonly ReadOnlyMemory<byte> bytes;
        private readonly long[] lengths;
        private int index;
        private int position;

        public DeltaLengthValues(ReadOnlyMemory<byte> bytes, int count)
        {
            this.bytes = bytes;
            lengths = DeltaNumbers.Read(bytes.Span, count, ref position);
        }

        public override ReadOnlySpan<byte> Next()
        {
            ReadOnlySpan<byte> value = bytes.Span.Slice(position, checked((int)lengths[index++]));
            position += value.Length;
            return value;
        }
    }

    /// <summary>Reads values that begin as the value before them.</summary>
    private sealed class DeltaValues : PageValues
    {
        private readonly long[] prefixes;
        private readonly DeltaLengthValues suffixes;
        private int index;
        private byte[] value = [];
        private int length;

        public DeltaValues(ReadOnlyMemory<byte> bytes, int count)
        {
            int position = 0;
            prefixes = DeltaNumbers.Read(bytes.Span, count, ref position);
            suffixes = new DeltaLengthValues(bytes[position..], count);
        }

        public override ReadOnlySpan<byte> Next()
        {
            int prefix = checked((int)prefixes[index++]);
            ReadOnlySpan<byte> suffix = suffixes.Next();
            if (prefix < 0 || prefix > length)
            {
                throw new InvalidDataException("A page has a prefix that is longer than the value before it.");
            }

            length = checked(prefix + suffix.Length);
            if (value.Length < length)
            {
                Array.Resize(ref value, Math.Max(length, (int)Math.Min(2L * value.Length, Array.MaxLength)));
            }

            suffix.CopyTo(value.AsSpan(prefix));
            return value.AsSpan(0, length);
        }
    }
}
