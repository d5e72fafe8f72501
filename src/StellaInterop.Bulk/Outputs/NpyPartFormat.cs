using System.Buffers.Binary;
using System.Text;
using StellaInterop.Vectors;

namespace StellaInterop.Bulk.Outputs;

/// <summary>
/// Writes parts as NumPy arrays, one per dimension, and a JSON Lines file with the other properties of each row: id, tokens, truncated, and
/// the scales of 8-bit integers.
/// </summary>
internal sealed class NpyPartFormat : IPartFormat
{
    public StellaBulkFormat Format => StellaBulkFormat.Npy;

    public IReadOnlyList<string> ExtensionsOf(PartSchema schema) =>
        [".ids.jsonl", .. schema.Dimensions.Select(dimension => schema.Dimensions.Count == 1 ? ".npy" : $".{schema.ColumnOf(dimension)}.npy")];

    public IPartWriter Create(PartSchema schema, IReadOnlyList<Stream> files, Func<Stream> createScratch) => new Writer(schema, files);

    private sealed class Writer : IPartWriter
    {
        /// <summary>NumPy aligns the numbers to 64 bytes. No number of rows makes the header longer.</summary>
        private const int HeaderBytes = 128;

        private readonly PartSchema schema;
        private readonly JsonRows json;
        private readonly Stream[] arrays;
        private readonly float[][] scales;
        private byte[] block = [];
        private long rowCount;

        public Writer(PartSchema schema, IReadOnlyList<Stream> files)
        {
            this.schema = schema;
            json = new JsonRows(files[0]);
            arrays = [.. files.Skip(1)];
            scales = new float[arrays.Length][];
            foreach (Stream array in arrays)
            {
                array.Write(new byte[HeaderBytes]);
            }
        }

        public void Write(PartRows rows)
        {
            for (int i = 0; i < arrays.Length; i++)
            {
                scales[i] = new float[rows.Count];
                for (int row = 0; row < rows.Count; row++)
                {
                    arrays[i].Write(Convert(rows.VectorOf(schema, i, row), ref scales[i][row]));
                }
            }

            for (int row = 0; row < rows.Count; row++)
            {
                json.Write(rows, row, writer =>
                {
                    for (int i = 0; i < arrays.Length && schema.VectorType == StellaBulkVectorType.Int8; i++)
                    {
                        writer.WriteNumber(schema.JsonScaleOf(schema.Dimensions[i]), scales[i][row]);
                    }
                });
            }

            rowCount += rows.Count;
        }

        /// <summary>Writes the headers, which have the number of rows.</summary>
        public void Complete()
        {
            json.Flush();
            for (int i = 0; i < arrays.Length; i++)
            {
                arrays[i].Position = 0;
                arrays[i].Write(CreateHeader(schema.Dimensions[i]));
                arrays[i].Position = arrays[i].Length;
            }
        }

        public void Dispose() => json.Dispose();

        private ReadOnlySpan<byte> Convert(ReadOnlySpan<float> vector, ref float scale)
        {
            Array.Resize(ref block, VectorBytes.LengthOf(schema.VectorType, vector.Length));
            scale = VectorBytes.Convert(schema.VectorType, vector, block);
            return block;
        }

        /// <summary>Returns the header of version 1.0: a Python dictionary, filled up with spaces.</summary>
        private byte[] CreateHeader(int dimension)
        {
            (string type, int columns) = schema.VectorType switch
            {
                StellaBulkVectorType.Float32 => ("<f4", dimension),
                StellaBulkVectorType.Half => ("<f2", dimension),
                StellaBulkVectorType.Int8 => ("|i1", dimension),
                _ => ("|u1", Quantization.GetBinaryLength(dimension)),
            };
            byte[] header = new byte[HeaderBytes];
            header.AsSpan().Fill((byte)' ');
            ReadOnlySpan<byte> begin = [0x93, .. "NUMPY"u8, 1, 0];
            begin.CopyTo(header);
            int dictionary = begin.Length + sizeof(ushort);
            BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(begin.Length), (ushort)(HeaderBytes - dictionary));
            Encoding.ASCII.GetBytes($"{{'descr': '{type}', 'fortran_order': False, 'shape': ({rowCount}, {columns}), }}", header.AsSpan(dictionary));
            header[^1] = (byte)'\n';
            return header;
        }
    }
}
