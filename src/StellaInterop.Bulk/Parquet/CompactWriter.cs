using System.Buffers;
using System.Text;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Specifies the type of a field in Thrift's compact protocol.</summary>
internal enum CompactType
{
    Stop = 0,
    True = 1,
    False = 2,
    Byte = 3,
    Int16 = 4,
    Int32 = 5,
    Int64 = 6,
    Double = 7,
    Binary = 8,
    List = 9,
    Set = 10,
    Map = 11,
    Struct = 12,
}

/// <summary>Writes structures in Thrift's compact protocol, in which Parquet keeps its metadata.</summary>
internal sealed class CompactWriter
{
    private const int LargestShortList = 14;
    private const int LargestShortStep = 15;

    private readonly ArrayBufferWriter<byte> output = new();
    private readonly Stack<int> outerFields = new();
    private int lastField;

    public ReadOnlySpan<byte> Written => output.WrittenSpan;

    public void Clear()
    {
        output.ResetWrittenCount();
        lastField = 0;
    }

    public void WriteInt32(int field, int value)
    {
        WriteHeader(field, CompactType.Int32);
        WriteVarint(ZigZag(value));
    }

    public void WriteInt64(int field, long value)
    {
        WriteHeader(field, CompactType.Int64);
        WriteVarint(ZigZag(value));
    }

    public void WriteString(int field, string value)
    {
        WriteHeader(field, CompactType.Binary);
        WriteBinary(value);
    }

    public void WriteStruct(int field, Action content)
    {
        WriteHeader(field, CompactType.Struct);
        WriteElement(content);
    }

    public void WriteInt32List(int field, ReadOnlySpan<int> values)
    {
        WriteListHeader(field, CompactType.Int32, values.Length);
        foreach (int value in values)
        {
            WriteVarint(ZigZag(value));
        }
    }

    public void WriteStringList(int field, ReadOnlySpan<string> values)
    {
        WriteListHeader(field, CompactType.Binary, values.Length);
        foreach (string value in values)
        {
            WriteBinary(value);
        }
    }

    public void WriteStructList<T>(int field, IReadOnlyCollection<T> values, Action<T> content)
    {
        WriteListHeader(field, CompactType.Struct, values.Count);
        foreach (T value in values)
        {
            WriteElement(() => content(value));
        }
    }

    /// <summary>Ends the structure that is not a field of another.</summary>
    public void WriteStop() => WriteByte((byte)CompactType.Stop);

    private static ulong ZigZag(long value) => (ulong)((value << 1) ^ (value >> 63));

    private void WriteElement(Action content)
    {
        outerFields.Push(lastField);
        lastField = 0;
        content();
        WriteStop();
        lastField = outerFields.Pop();
    }

    private void WriteHeader(int field, CompactType type)
    {
        int step = field - lastField;
        if (step is > 0 and <= LargestShortStep)
        {
            WriteByte((byte)((step << 4) | (int)type));
        }
        else
        {
            WriteByte((byte)type);
            WriteVarint(ZigZag(field));
        }

        lastField = field;
    }

    private void WriteListHeader(int field, CompactType type, int count)
    {
        WriteHeader(field, CompactType.List);
        if (count <= LargestShortList)
        {
            WriteByte((byte)((count << 4) | (int)type));
        }
        else
        {
            WriteByte((byte)(0xF0 | (int)type));
            WriteVarint((ulong)count);
        }
    }

    private void WriteBinary(string value)
    {
        int length = Encoding.UTF8.GetByteCount(value);
        WriteVarint((ulong)length);
        output.Advance(Encoding.UTF8.GetBytes(value, output.GetSpan(length)));
    }

    private void WriteVarint(ulong value)
    {
        while (value >= 0x80)
        {
            WriteByte((byte)(value | 0x80));
            value >>= 7;
        }

        WriteByte((byte)value);
    }

    private void WriteByte(byte value)
    {
        output.GetSpan(1)[0] = value;
        output.Advance(1);
    }
}
