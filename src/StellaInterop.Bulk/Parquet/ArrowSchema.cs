using System.Buffers.Binary;

namespace StellaInterop.Bulk.Parquet;

/// <summary>
/// Writes the Arrow schema that Arrow's readers take from the key <see cref="Key"/> of a Parquet file. It restores what Parquet has no
/// type for: that all lists of a column have the same length.
/// </summary>
internal static class ArrowSchema
{
    public const string Key = "ARROW:schema";

    // The numbers of Message.fbs and Schema.fbs in the format of Arrow.
    private const short MetadataVersion5 = 4;
    private const byte SchemaHeader = 1;
    private const byte IntType = 2;
    private const byte FloatType = 3;
    private const byte Utf8Type = 5;
    private const byte BoolType = 6;
    private const byte FixedBinaryType = 15;
    private const byte FixedListType = 16;
    private const short HalfPrecision = 0;
    private const short SinglePrecision = 1;

    /// <summary>The mark before the length of a message.</summary>
    private const uint Continuation = 0xFFFF_FFFF;

    /// <summary>Returns the schema message of the columns in base64.</summary>
    public static string Encode(IEnumerable<ParquetColumn> columns)
    {
        var buffer = new FlatBuffer();
        FlatBuffer.Reference fields = buffer.AddVector([.. columns.Select(column => AddField(buffer, column))]);
        FlatBuffer.Reference schema = buffer.AddTable((1, fields));
        byte[] message = buffer.Finish(buffer.AddTable((2, schema), (0, MetadataVersion5), (1, SchemaHeader)));

        byte[] framed = new byte[(2 * sizeof(int)) + message.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(framed, Continuation);
        BinaryPrimitives.WriteInt32LittleEndian(framed.AsSpan(sizeof(int)), message.Length);
        message.CopyTo(framed, 2 * sizeof(int));
        return Convert.ToBase64String(framed);
    }

    private static FlatBuffer.Reference AddField(FlatBuffer buffer, ParquetColumn column)
    {
        if (column.ListLength == 0)
        {
            return AddField(buffer, column.Name, TypeOf(column), AddType(buffer, column), []);
        }

        ParquetColumn element = column with { Name = ParquetNames.Element, ListLength = 0 };
        FlatBuffer.Reference child = AddField(buffer, element);
        return AddField(buffer, column.Name, FixedListType, buffer.AddTable((0, column.ListLength)), [child]);
    }

    private static FlatBuffer.Reference AddField(
        FlatBuffer buffer, string name, byte type, FlatBuffer.Reference content, IReadOnlyList<FlatBuffer.Reference> children)
    {
        // Arrow's readers require the list of children, also if it is empty.
        FlatBuffer.Reference childList = buffer.AddVector(children);
        FlatBuffer.Reference nameText = buffer.AddString(name);
        return buffer.AddTable((5, childList), (3, content), (0, nameText), (2, type), (1, false));
    }

    private static byte TypeOf(ParquetColumn column) => (column.Type, column.Logical) switch
    {
        (ParquetType.ByteArray, LogicalType.String) => Utf8Type,
        (ParquetType.Boolean, LogicalType.None) => BoolType,
        (ParquetType.Int32, LogicalType.None) => IntType,
        (ParquetType.Float, LogicalType.None) or (ParquetType.FixedLengthByteArray, LogicalType.Float16) => FloatType,
        (ParquetType.FixedLengthByteArray, LogicalType.None) => FixedBinaryType,
        _ => throw new ArgumentException($"No Arrow type is known for {column}.", nameof(column)),
    };

    private static FlatBuffer.Reference AddType(FlatBuffer buffer, ParquetColumn column) => TypeOf(column) switch
    {
        IntType => buffer.AddTable((0, 8 * sizeof(int)), (1, true)),
        FloatType => buffer.AddTable((0, column.Logical == LogicalType.Float16 ? HalfPrecision : SinglePrecision)),
        FixedBinaryType => buffer.AddTable((0, column.TypeLength)),
        _ => buffer.AddTable(),
    };
}
