using System.Runtime.InteropServices;
using Apache.Arrow.Ipc;
using Apache.Arrow.Types;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Outputs;
using StellaInterop.Bulk.Parquet;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;
using StellaInterop.Vectors;

namespace StellaInterop.Bulk.Tests.Outputs;

/// <summary>Parts in Parquet are read back by DuckDB, and their Arrow schema by Apache.Arrow.</summary>
internal sealed class ParquetPartTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void Create() => folder = new TemporaryFolder();

    [TearDown]
    public void Delete() => folder.Dispose();

    [TestCase(1, 1)]
    [TestCase(7, 3)]
    [TestCase(1024, 700)]
    public void Floats_are_read_back_with_all_their_bits(int dimension, int count)
    {
        var schema = new PartSchema([dimension], StellaBulkVectorType.Float32);
        PartRows rows = PartFiles.CreateRows(schema, count);
        List<object?[]> read = WriteAndRead(schema, "SELECT id, embedding, tokens, truncated FROM $file", rows);
        AssertIds(read, rows);
        Assert.That(read.SelectMany(row => (List<float>)row[1]!), Is.EqualTo(rows.Vectors[0].ToArray()));
    }

    [Test]
    public void Several_dimensions_are_several_columns()
    {
        var schema = new PartSchema([3, 8], StellaBulkVectorType.Float32);
        PartRows rows = PartFiles.CreateRows(schema, 5);
        List<object?[]> read = WriteAndRead(schema, "SELECT id, embedding_3, tokens, truncated, embedding_8 FROM $file", rows);
        AssertIds(read, rows);
        Assert.Multiple(() =>
        {
            Assert.That(read.SelectMany(row => (List<float>)row[1]!), Is.EqualTo(rows.Vectors[0].ToArray()));
            Assert.That(read.SelectMany(row => (List<float>)row[4]!), Is.EqualTo(rows.Vectors[1].ToArray()));
        });
    }

    [Test]
    public void Halves_are_read_back_as_floats()
    {
        var schema = new PartSchema([40], StellaBulkVectorType.Half);
        PartRows rows = PartFiles.CreateRows(schema, 30);
        List<object?[]> read = WriteAndRead(schema, "SELECT id, embedding, tokens, truncated FROM $file", rows);
        AssertIds(read, rows);
        Assert.That(read.SelectMany(row => (List<float>)row[1]!), Is.EqualTo(rows.Vectors[0].ToArray().Select(x => (float)(Half)x)));
    }

    [Test]
    public void Integers_are_byte_strings_with_a_scale()
    {
        var schema = new PartSchema([40, 12], StellaBulkVectorType.Int8);
        PartRows rows = PartFiles.CreateRows(schema, 30);
        List<object?[]> read = WriteAndRead(schema, "SELECT id, embedding_40, tokens, truncated, embedding_40_scale, embedding_12, embedding_12_scale FROM $file", rows);
        AssertIds(read, rows);
        Assert.Multiple(() =>
        {
            for (int i = 0; i < rows.Count; i++)
            {
                sbyte[] expected = new sbyte[40];
                float scale = Quantization.ToInt8(rows.VectorOf(schema, 0, i), expected);
                Assert.That(read[i][1], Is.EqualTo(MemoryMarshal.AsBytes<sbyte>(expected).ToArray()));
                Assert.That(read[i][4], Is.EqualTo(scale));
                expected = new sbyte[12];
                scale = Quantization.ToInt8(rows.VectorOf(schema, 1, i), expected);
                Assert.That(read[i][5], Is.EqualTo(MemoryMarshal.AsBytes<sbyte>(expected).ToArray()));
                Assert.That(read[i][6], Is.EqualTo(scale));
            }
        });
    }

    [Test]
    public void Bits_are_byte_strings_with_the_first_number_in_the_highest_bit()
    {
        var schema = new PartSchema([12], StellaBulkVectorType.Binary);
        float[] vector = [1, -1, 1, 1, -1, -1, -1, -1, 1, 1, 0, 1];
        PartRows rows = PartFiles.CreateRows(schema, 1);
        rows = new PartRows { Count = 1, Ids = rows.Ids, Tokens = rows.Tokens, Truncated = rows.Truncated, Vectors = [vector] };
        Assert.That(WriteAndRead(schema, "SELECT embedding FROM $file", rows)[0][0], Is.EqualTo(new byte[] { 0b1011_0000, 0b1101_0000 }));
    }

    [Test]
    public void Each_10000_rows_are_a_row_group_and_the_vectors_have_neither_dictionary_nor_statistics()
    {
        var schema = new PartSchema([300], StellaBulkVectorType.Float32);
        List<object?[]> read = WriteAndRead(
            schema,
            """
            SELECT row_group_id, row_group_num_rows, encodings, compression, stats_min_value IS NULL, dictionary_page_offset IS NULL
            FROM parquet_metadata($file) WHERE path_in_schema = 'embedding, list, element'
            """,
            PartFiles.CreateRows(schema, 6_000),
            PartFiles.CreateRows(schema, 4_500));
        Assert.That(read, Is.EqualTo(new object[][]
        {
            [0L, 10_000L, "BYTE_STREAM_SPLIT, RLE", "ZSTD", true, true], [1L, 500L, "BYTE_STREAM_SPLIT, RLE", "ZSTD", true, true],
        }));
    }

    [Test]
    public void A_part_without_rows_is_a_table_without_rows()
    {
        var schema = new PartSchema([4], StellaBulkVectorType.Float32);
        Assert.That(WriteAndRead(schema, "SELECT count(*), count(embedding) FROM $file"), Is.EqualTo(new object[][] { [0L, 0L] }));
    }

    [TestCase(StellaBulkVectorType.Float32)]
    [TestCase(StellaBulkVectorType.Half)]
    [TestCase(StellaBulkVectorType.Int8)]
    [TestCase(StellaBulkVectorType.Binary)]
    public void The_Arrow_schema_has_vectors_of_a_fixed_length(StellaBulkVectorType type)
    {
        var schema = new PartSchema([16, 24], type);
        // A stream with a schema and its end.
        using var stream = new MemoryStream([.. Convert.FromBase64String(ArrowSchema.Encode(ParquetPartFormat.ColumnsOf(schema))), 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
        using var reader = new ArrowStreamReader(stream);
        Assert.That(
            reader.Schema.FieldsList.Select(field => $"{field.Name} {Describe(field.DataType)} {field.IsNullable}"),
            Is.EqualTo(type switch
            {
                StellaBulkVectorType.Float32 => new[]
                {
                    "id utf8 False", "embedding_16 float[16] False", "embedding_24 float[24] False", "tokens int32 False", "truncated bool False",
                },
                StellaBulkVectorType.Half => ["id utf8 False", "embedding_16 halffloat[16] False", "embedding_24 halffloat[24] False", "tokens int32 False", "truncated bool False"],
                StellaBulkVectorType.Int8 =>
                [
                    "id utf8 False", "embedding_16 bytes(16) False", "embedding_16_scale float False", "embedding_24 bytes(24) False", "embedding_24_scale float False",
                    "tokens int32 False", "truncated bool False",
                ],
                _ => ["id utf8 False", "embedding_16 bytes(2) False", "embedding_24 bytes(3) False", "tokens int32 False", "truncated bool False"],
            }));
    }

    [Test]
    public void The_file_names_neither_time_nor_machine_nor_version()
    {
        var schema = new PartSchema([4], StellaBulkVectorType.Float32);
        List<object?[]> metadata = WriteAndRead(schema, "SELECT created_by FROM parquet_file_metadata($file)", PartFiles.CreateRows(schema, 2));
        List<object?[]> keys = DuckDb.Query(folder.File("a.parquet"), "SELECT decode(key) FROM parquet_kv_metadata($file)");
        Assert.Multiple(() =>
        {
            Assert.That(metadata, Is.EqualTo(new object[][] { ["StellaInterop version 1 (build 1)"] }));
            Assert.That(keys, Is.EqualTo(new object[][] { ["ARROW:schema"] }));
        });
    }

    /// <summary>
    /// A second worker, or a later version of the program, must write the same bytes. A package of zstd that compresses in another way needs
    /// another number of the layout in the name of the writer.
    /// </summary>
    [TestCase(StellaBulkVectorType.Float32, "3dc09613b8963ad05530a32469da7126f07d61634f3e5ff7deaca2bec32e5dff")]
    [TestCase(StellaBulkVectorType.Half, "1630d01472323995710201ed96cfe540941a266f4bca3a98c60f1cf3983dea86")]
    [TestCase(StellaBulkVectorType.Int8, "109caa796feb1b0b31d67a1f374ad7a72edc93076869ae795ad2c3a7dfe27777")]
    [TestCase(StellaBulkVectorType.Binary, "f54625909f2fa5d577d039f85702b97ddb94393c78dee74bd37a5f79b7d8de04")]
    public void The_bytes_of_a_part_stay_the_same(StellaBulkVectorType type, string hash)
    {
        var schema = new PartSchema([24, 1024], type);
        Assert.That(
            FileContent.Hash(PartFiles.Write(StellaBulkFormat.Parquet, schema, PartFiles.CreateRows(schema, 10_000), PartFiles.CreateRows(schema, 700, seed: 2))[".parquet"]),
            Is.EqualTo(hash));
    }

    /// <summary>A row group of this size has 123 MB of vectors.</summary>
    [Test]
    public void A_row_group_of_long_vectors_is_not_kept_in_memory()
    {
        var schema = new PartSchema([1024, 2048], StellaBulkVectorType.Float32);
        PartRows rows = PartFiles.CreateRows(schema, 100);
        using FileStream file = File.Create(folder.File("a.parquet"));
        var scratch = new List<Stream>();
        using IPartWriter writer = PartFormats.Of(StellaBulkFormat.Parquet).Create(schema, [file], CreateScratch);
        writer.Write(rows);
        long before = GC.GetTotalMemory(forceFullCollection: true);
        for (int call = 1; call < 99; call++)
        {
            writer.Write(rows);
        }

        file.Flush();
        Assert.That(file.Length, Is.InRange(45_000_000, 60_000_000), "the file has the longer vectors only");
        Assert.That(GC.GetTotalMemory(forceFullCollection: true) - before, Is.LessThan(20 << 20));
        writer.Write(rows);
        writer.Complete();
        file.Dispose();
        Assert.That(scratch.Select(stream => stream.Length), Is.EqualTo([0L]), "the shorter vectors waited in a file, whose bytes are in the part");
        scratch.ForEach(stream => stream.Dispose());
        Assert.That(
            DuckDb.Query(folder.File("a.parquet"), "SELECT count(*), count(DISTINCT id), sum(len(embedding_1024)), sum(len(embedding_2048)) FROM $file"),
            Is.EqualTo(new object[][] { [10_000L, 100L, new System.Numerics.BigInteger(10_240_000), new System.Numerics.BigInteger(20_480_000)] }));

        FileStream CreateScratch()
        {
            scratch.Add(File.Create(folder.File($"scratch{scratch.Count}")));
            return (FileStream)scratch[^1];
        }
    }

    private List<object?[]> WriteAndRead(PartSchema schema, string query, params PartRows[] rowGroups)
    {
        File.WriteAllBytes(folder.File("a.parquet"), PartFiles.Write(StellaBulkFormat.Parquet, schema, rowGroups)[".parquet"]);
        return DuckDb.Query(folder.File("a.parquet"), query);
    }

    private static void AssertIds(List<object?[]> read, PartRows rows) => Assert.Multiple(() =>
    {
        Assert.That(read.Select(row => row[0]), Is.EqualTo(rows.Ids));
        Assert.That(read.Select(row => row[2]), Is.EqualTo(rows.Tokens));
        Assert.That(read.Select(row => row[3]), Is.EqualTo(rows.Truncated));
    });

    private static string Describe(IArrowType type) => type switch
    {
        FixedSizeListType list => $"{Describe(list.ValueDataType)}[{list.ListSize}]",
        FixedSizeBinaryType bytes => $"bytes({bytes.ByteWidth})",
        _ => type.Name,
    };
}
