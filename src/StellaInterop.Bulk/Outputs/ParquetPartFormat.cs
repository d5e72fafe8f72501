using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using StellaInterop.Bulk.Parquet;

namespace StellaInterop.Bulk.Outputs;

/// <summary>
/// Writes parts in Parquet. Vectors of floats are lists, and the Arrow schema says that all lists have the same length. Vectors of integers and
/// of bits are byte strings of a fixed length.
/// </summary>
internal sealed class ParquetPartFormat : IPartFormat
{
    /// <summary>The rows of a row group, which is a contract with readers.</summary>
    public const int RowGroupRows = 10_000;

    private const string IdColumn = "id";
    private const string TokensColumn = "tokens";
    private const string TruncatedColumn = "truncated";

    public StellaBulkFormat Format => StellaBulkFormat.Parquet;

    public IReadOnlyList<string> ExtensionsOf(PartSchema schema) => [".parquet"];

    public IPartWriter Create(PartSchema schema, IReadOnlyList<Stream> files, Func<Stream> createScratch) => new Writer(schema, files[0], createScratch);

    /// <summary>Returns the columns of a part.</summary>
    public static IReadOnlyList<ParquetColumn> ColumnsOf(PartSchema schema) =>
    [
        new(IdColumn, ParquetType.ByteArray) { Logical = LogicalType.String },
        .. schema.Dimensions.SelectMany(dimension => VectorColumns(schema, dimension)),
        new(TokensColumn, ParquetType.Int32),
        new(TruncatedColumn, ParquetType.Boolean),
    ];

    /// <summary>Appends the length of a string in UTF-8, and its bytes.</summary>
    public static void AppendString(string value, ArrayBufferWriter<byte> page)
    {
        page.Write(MemoryMarshal.AsBytes<int>([Encoding.UTF8.GetByteCount(value)]));
        Encoding.UTF8.GetBytes(value, page);
    }

    private static IEnumerable<ParquetColumn> VectorColumns(PartSchema schema, int dimension)
    {
        string name = schema.ColumnOf(dimension);
        var list = new ParquetColumn(name, ParquetType.Float) { ListLength = dimension };
        var bytes = new ParquetColumn(name, ParquetType.FixedLengthByteArray) { TypeLength = VectorBytes.LengthOf(schema.VectorType, dimension) };
        return schema.VectorType switch
        {
            StellaBulkVectorType.Float32 => [list with { Encoding = ParquetEncoding.ByteStreamSplit }],
            // DuckDB splits no bytes of other types than 32-bit and 64-bit floats.
            StellaBulkVectorType.Half => [list with { Type = ParquetType.FixedLengthByteArray, TypeLength = sizeof(ushort), Logical = LogicalType.Float16 }],
            StellaBulkVectorType.Int8 => [bytes, new($"{name}_scale", ParquetType.Float)],
            _ => [bytes],
        };
    }

    private sealed class Writer : IPartWriter
    {
        private readonly PartSchema schema;
        private readonly ParquetWriter parquet;

        public Writer(PartSchema schema, Stream file, Func<Stream> createScratch)
        {
            this.schema = schema;
            IReadOnlyList<ParquetColumn> columns = ColumnsOf(schema);
            parquet = new ParquetWriter(
                file, columns, RowGroupRows, createScratch, new KeyValuePair<string, string>(ArrowSchema.Key, ArrowSchema.Encode(columns)));
        }

        public void Write(PartRows rows) => parquet.Write(
            rows.Count,
            [
                (row, page) => AppendString(rows.Ids[row], page),
                .. Enumerable.Range(0, schema.Dimensions.Count).SelectMany(index => AppendersOf(rows, index)),
                (row, page) => page.Write(MemoryMarshal.AsBytes<int>([rows.Tokens[row]])),
                (row, page) => page.Write([rows.Truncated[row] ? (byte)1 : (byte)0]),
            ]);

        public void Complete() => parquet.Complete();

        public void Dispose() => parquet.Dispose();

        /// <summary>Returns the columns of a dimension: the vectors, and the scales of 8-bit integers.</summary>
        private IEnumerable<RowAppender> AppendersOf(PartRows rows, int index)
        {
            int length = VectorBytes.LengthOf(schema.VectorType, schema.Dimensions[index]);
            float[] scales = new float[rows.Count];
            yield return (row, page) =>
            {
                scales[row] = VectorBytes.Convert(schema.VectorType, rows.VectorOf(schema, index, row), page.GetSpan(length)[..length]);
                page.Advance(length);
            };
            if (schema.VectorType == StellaBulkVectorType.Int8)
            {
                yield return (row, page) => page.Write(MemoryMarshal.AsBytes<float>([scales[row]]));
            }
        }
    }
}
