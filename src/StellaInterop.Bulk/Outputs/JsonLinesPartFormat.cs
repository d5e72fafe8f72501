using System.Text.Json;

namespace StellaInterop.Bulk.Outputs;

/// <summary>Writes parts in JSON Lines, with vectors as <c>stella embed</c> writes them.</summary>
internal sealed class JsonLinesPartFormat : IPartFormat
{
    public StellaBulkFormat Format => StellaBulkFormat.JsonLines;

    public IReadOnlyList<string> ExtensionsOf(PartSchema schema) => [".jsonl"];

    public IPartWriter Create(PartSchema schema, IReadOnlyList<Stream> files, Func<Stream> createScratch) => new Writer(schema, files[0]);

    private sealed class Writer(PartSchema schema, Stream file) : IPartWriter
    {
        private readonly JsonRows json = new(file);
        private readonly VectorJson vectors = new();

        public void Write(PartRows rows)
        {
            for (int row = 0; row < rows.Count; row++)
            {
                json.Write(rows, row, writer => WriteVectors(writer, rows, row));
            }
        }

        public void Complete() => json.Flush();

        public void Dispose() => json.Dispose();

        private void WriteVectors(Utf8JsonWriter writer, PartRows rows, int row)
        {
            for (int i = 0; i < schema.Dimensions.Count; i++)
            {
                string name = schema.ColumnOf(schema.Dimensions[i]);
                ReadOnlySpan<float> vector = rows.VectorOf(schema, i, row);
                switch (schema.VectorType)
                {
                    case StellaBulkVectorType.Float32:
                        VectorJson.WriteFloat32(writer, name, vector);
                        break;
                    case StellaBulkVectorType.Half:
                        vectors.WriteHalf(writer, name, vector);
                        break;
                    case StellaBulkVectorType.Int8:
                        vectors.WriteInt8(writer, schema.JsonScaleOf(schema.Dimensions[i]), name, vector);
                        break;
                    default:
                        vectors.WriteBinary(writer, schema.JsonDimensionOf(schema.Dimensions[i]), name, vector);
                        break;
                }
            }
        }
    }
}
