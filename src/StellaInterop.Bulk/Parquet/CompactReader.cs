using System.Text;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Reads structures in Thrift's compact protocol. Every length is compared with the bytes that are left.</summary>
internal ref struct CompactReader(ReadOnlySpan<byte> bytes)
{
    /// <summary>The depth of structures that a reader skips. The metadata of Parquet has less than ten.</summary>
    private const int MaxDepth = 32;

    private const int LongListMark = 15;

    private readonly ReadOnlySpan<byte> bytes = bytes;
    private CompactType type;

    /// <summary>Gets the number of bytes that were read.</summary>
    public int Position { get; private set; }

    /// <summary>Reads the header of the next field of a structure.</summary>
    /// <param name="field">The id of the field before it, which is 0 at the beginning of the structure. Receives the id of the field.</param>
    /// <returns><see langword="false"/> at the end of the structure.</returns>
    public bool NextField(ref int field)
    {
        byte header = ReadByte();
        type = (CompactType)(header & 0x0F);
        if (type == CompactType.Stop)
        {
            return false;
        }

        int step = header >> 4;
        field = step == 0 ? (short)ReadZigZag() : field + step;
        return true;
    }

    public int ReadInt32()
    {
        long value = type is CompactType.Byte or CompactType.Int16 or CompactType.Int32 ? ReadNumber() : throw Unexpected();
        return value is >= int.MinValue and <= int.MaxValue ? (int)value : throw Damaged();
    }

    public long ReadInt64() => type is CompactType.Int32 or CompactType.Int64 ? ReadZigZag() : throw Unexpected();

    /// <summary>Returns the value of the current field, which its header contains.</summary>
    public readonly bool ReadBoolean() => type switch
    {
        CompactType.True => true,
        CompactType.False => false,
        _ => throw Unexpected(),
    };

    public string ReadString() => type == CompactType.Binary ? Encoding.UTF8.GetString(ReadBinary()) : throw Unexpected();

    /// <summary>Begins a structure, or fails if the current field is not one.</summary>
    public readonly void ExpectStruct()
    {
        if (type != CompactType.Struct)
        {
            throw Unexpected();
        }
    }

    /// <summary>Reads the header of a list, whose elements are read afterwards.</summary>
    /// <returns>The number of elements, at most that of the bytes that are left.</returns>
    public int ReadListHeader(CompactType element)
    {
        if (type is not (CompactType.List or CompactType.Set))
        {
            throw Unexpected();
        }

        int count = ReadAnyListHeader();
        return count == 0 || type == element ? count : throw Unexpected();
    }

    /// <summary>Skips the value of the current field.</summary>
    public void Skip() => Skip(type, isElement: false, depth: 0);

    private void Skip(CompactType skipped, bool isElement, int depth)
    {
        if (depth > MaxDepth)
        {
            throw Damaged();
        }

        switch (skipped)
        {
            case CompactType.True or CompactType.False:
                Advance(isElement ? 1 : 0);
                break;
            case CompactType.Byte:
                Advance(1);
                break;
            case CompactType.Int16 or CompactType.Int32 or CompactType.Int64:
                ReadVarint();
                break;
            case CompactType.Double:
                Advance(sizeof(double));
                break;
            case CompactType.Binary:
                ReadBinary();
                break;
            case CompactType.List or CompactType.Set:
                int count = ReadAnyListHeader();
                CompactType element = type;
                for (int i = 0; i < count; i++)
                {
                    Skip(element, isElement: true, depth + 1);
                }

                break;
            case CompactType.Map:
                ulong entries = ReadVarint();
                byte types = entries > 0 ? ReadByte() : (byte)0;
                for (ulong i = 0; i < entries; i++)
                {
                    Skip((CompactType)(types >> 4), isElement: true, depth + 1);
                    Skip((CompactType)(types & 0x0F), isElement: true, depth + 1);
                }

                break;
            case CompactType.Struct:
                int field = 0;
                while (NextField(ref field))
                {
                    Skip(type, isElement: false, depth + 1);
                }

                break;
            default:
                throw Damaged();
        }
    }

    /// <summary>Reads the header of a list. The current type becomes that of its elements.</summary>
    private int ReadAnyListHeader()
    {
        byte header = ReadByte();
        type = (CompactType)(header & 0x0F);
        ulong count = header >> 4 == LongListMark ? ReadVarint() : (ulong)(header >> 4);
        return count <= (ulong)(bytes.Length - Position) ? (int)count : throw Damaged();
    }

    private long ReadNumber() => type == CompactType.Byte ? (sbyte)ReadByte() : ReadZigZag();

    private ReadOnlySpan<byte> ReadBinary()
    {
        ulong length = ReadVarint();
        if (length > (ulong)(bytes.Length - Position))
        {
            throw Damaged();
        }

        ReadOnlySpan<byte> value = bytes.Slice(Position, (int)length);
        Position += (int)length;
        return value;
    }

    private long ReadZigZag()
    {
        int position = Position;
        long value = PackedBits.ReadZigZag(bytes, ref position);
        Position = position;
        return value;
    }

    private ulong ReadVarint()
    {
        int position = Position;
        ulong value = PackedBits.ReadVarint(bytes, ref position);
        Position = position;
        return value;
    }

    private byte ReadByte()
    {
        Advance(1);
        return bytes[Position - 1];
    }

    private void Advance(int count)
    {
        if (count > bytes.Length - Position)
        {
            throw Damaged();
        }

        Position += count;
    }

    private static InvalidDataException Damaged() => new("The metadata of the Parquet file is damaged.");

    private readonly InvalidDataException Unexpected() => new($"The metadata of the Parquet file has a field of the type {type} where another type is needed.");
}
