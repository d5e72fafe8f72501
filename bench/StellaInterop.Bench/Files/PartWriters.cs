using Parquet;
using Parquet.Schema;
using ParquetSharp;
using ParquetSharp.IO;
using ParquetSharp.Schema;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Outputs;
using StellaInterop.Bulk.Parquet;

namespace StellaInterop.Bench.Files;

/// <summary>Writers of Parquet, each with the same columns, zstd at level 1, byte-stream split, and neither dictionaries nor statistics.</summary>
internal static class PartWriters
{
    private const string IdColumn = "id";
    private const string VectorColumn = "embedding";

    /// <summary>Returns the writers that can write a part, by name.</summary>
    public static IEnumerable<(string Name, Action<PartSample, Stream> Write)> Of(StellaBulkVectorType type)
    {
        yield return ("StellaInterop.Bulk", WriteOurs);
        yield return ("ParquetSharp", WriteParquetSharp);
        if (type == StellaBulkVectorType.Float32)
        {
            // Parquet.Net has neither 16-bit floats nor byte strings of a fixed length.
            yield return ("Parquet.Net", (sample, output) => WriteParquetNet(sample, output).GetAwaiter().GetResult());
        }
    }

    private static void WriteOurs(PartSample sample, Stream output)
    {
        using IPartWriter writer = PartFormats.Of(StellaBulkFormat.Parquet).Create(sample.Schema, [output], () => new MemoryStream());
        foreach (PartRows group in sample.Groups)
        {
            writer.Write(group);
        }

        writer.Complete();
    }

    private static void WriteParquetSharp(PartSample sample, Stream output)
    {
        int dimension = sample.Dimension;
#pragma warning disable CA2000 // The nodes below another one are few, and end with the process.
        using Node vector = sample.Schema.VectorType switch
        {
            StellaBulkVectorType.Float32 => List(new PrimitiveNode("element", ParquetSharp.Repetition.Required, ParquetSharp.LogicalType.None(), PhysicalType.Float)),
            StellaBulkVectorType.Half => List(new PrimitiveNode(
                "element", ParquetSharp.Repetition.Required, ParquetSharp.LogicalType.Float16(), PhysicalType.FixedLenByteArray, sizeof(ushort))),
            _ => new PrimitiveNode(VectorColumn, ParquetSharp.Repetition.Required, ParquetSharp.LogicalType.None(), PhysicalType.FixedLenByteArray, dimension),
        };
#pragma warning restore CA2000
        using var id = new PrimitiveNode(IdColumn, ParquetSharp.Repetition.Required, ParquetSharp.LogicalType.String(), PhysicalType.ByteArray);
        using var schema = new GroupNode("schema", ParquetSharp.Repetition.Required, [id, vector]);
        using var builder = new WriterPropertiesBuilder();
        builder
            .Compression(Compression.Zstd)
            .CompressionLevel(1)
            .DisableDictionary()
            .DisableStatistics()
            .CreatedBy("bench");
        if (sample.Schema.VectorType <= StellaBulkVectorType.Half)
        {
            builder.Encoding($"{VectorColumn}.list.element", ParquetSharp.Encoding.ByteStreamSplit);
        }

        using WriterProperties properties = builder.Build();
        using var stream = new ManagedOutputStream(output, leaveOpen: true);
        var metadata = new Dictionary<string, string> { [ArrowSchema.Key] = ArrowSchema.Encode(ParquetPartFormat.ColumnsOf(sample.Schema)) };
        using var file = new ParquetFileWriter(stream, schema, properties, metadata);
        foreach (PartRows group in sample.Groups)
        {
            using RowGroupWriter rowGroup = file.AppendRowGroup();
            using (LogicalColumnWriter<string> ids = rowGroup.NextColumn().LogicalWriter<string>())
            {
                ids.WriteBatch([.. group.Ids]);
            }

            WriteVectors(sample, group, rowGroup.NextColumn());
        }

        file.Close();
    }

    private static unsafe void WriteVectors(PartSample sample, PartRows group, ColumnWriter column)
    {
        int dimension = sample.Dimension, count = group.Count * dimension;
        short[] definitions = new short[count];
        definitions.AsSpan().Fill(1);
        ReadOnlySpan<short> repetitions = sample.ShortRepetitions.AsSpan(0, count);
        if (sample.Schema.VectorType == StellaBulkVectorType.Float32)
        {
            ((ColumnWriter<float>)column).WriteBatch(count, definitions, repetitions, group.Vectors[0].Span);
            return;
        }

        int length = VectorBytes.LengthOf(sample.Schema.VectorType, dimension);
        byte[] bytes = new byte[group.Count * length];
        for (int row = 0; row < group.Count; row++)
        {
            VectorBytes.Convert(sample.Schema.VectorType, group.VectorOf(sample.Schema, 0, row), bytes.AsSpan(row * length, length));
        }

        fixed (byte* first = bytes)
        {
            var writer = (ColumnWriter<FixedLenByteArray>)column;
            if (sample.Schema.VectorType == StellaBulkVectorType.Half)
            {
                writer.WriteBatch(count, definitions, repetitions, PointersTo((nint)first, count, sizeof(ushort)));
            }
            else
            {
                writer.WriteBatch(PointersTo((nint)first, group.Count, length));
            }
        }
    }

    private static FixedLenByteArray[] PointersTo(nint first, int count, int length)
    {
        var pointers = new FixedLenByteArray[count];
        for (int i = 0; i < count; i++)
        {
            pointers[i] = new FixedLenByteArray(first + ((nint)i * length));
        }

        return pointers;
    }

    private static GroupNode List(Node element)
    {
        using var list = new GroupNode("list", ParquetSharp.Repetition.Repeated, [element]);
        return new GroupNode(VectorColumn, ParquetSharp.Repetition.Required, [list], ParquetSharp.LogicalType.List());
    }

    private static async Task WriteParquetNet(PartSample sample, Stream output)
    {
        var id = new DataField<string>(IdColumn, nullable: false);
        var element = new DataField<float>("element");
        var schema = new ParquetSchema(id, new ListField(VectorColumn, element));
        var options = new ParquetOptions { CompressionMethod = CompressionMethod.Zstd, CompressionLevel = System.IO.Compression.CompressionLevel.Fastest };
        options.ColumnEncodingHints[element.Path.ToString()] = EncodingHint.ByteSplitStream;
        Parquet.ParquetWriter writer = await Parquet.ParquetWriter.CreateAsync(schema, output, options).ConfigureAwait(false);
        await using (writer.ConfigureAwait(false))
        {
            writer.CustomMetadata = new Dictionary<string, string> { [ArrowSchema.Key] = ArrowSchema.Encode(ParquetPartFormat.ColumnsOf(sample.Schema)) };
            foreach (PartRows group in sample.Groups)
            {
                using ParquetRowGroupWriter rowGroup = writer.CreateRowGroup();
                await rowGroup.WriteAsync(id, [.. group.Ids]).ConfigureAwait(false);
                ReadOnlyMemory<float> values = group.Vectors[0];
                int[] definitions = new int[values.Length];
                Array.Fill(definitions, element.MaxDefinitionLevel);
                await rowGroup.WriteAllPartsAsync(element, values, definitions, sample.Repetitions.AsMemory(0, values.Length), default).ConfigureAwait(false);
            }
        }
    }
}
