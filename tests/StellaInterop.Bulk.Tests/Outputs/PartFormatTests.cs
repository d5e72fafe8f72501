using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Outputs;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Vectors;

namespace StellaInterop.Bulk.Tests.Outputs;

/// <summary>Parts in JSON Lines and NumPy, and the rules of all formats.</summary>
internal sealed class PartFormatTests
{
    private static readonly PartSchema TwoDimensions = new([2, 9], StellaBulkVectorType.Int8);

    private static IEnumerable<(StellaBulkFormat Format, StellaBulkVectorType Type)> All() =>
        from format in Enum.GetValues<StellaBulkFormat>() from type in Enum.GetValues<StellaBulkVectorType>() select (format, type);

    [TestCaseSource(nameof(All))]
    public void Equal_rows_give_equal_bytes((StellaBulkFormat Format, StellaBulkVectorType Type) each)
    {
        var schema = new PartSchema([5, 64], each.Type);
        Dictionary<string, byte[]> first = PartFiles.Write(each.Format, schema, PartFiles.CreateRows(schema, 300), PartFiles.CreateRows(schema, 20, seed: 2));
        Dictionary<string, byte[]> second = PartFiles.Write(each.Format, schema, PartFiles.CreateRows(schema, 300), PartFiles.CreateRows(schema, 20, seed: 2));
        Assert.That(second, Is.EqualTo(first));
    }

    [TestCaseSource(nameof(All))]
    public void The_cut_of_rows_into_calls_changes_no_byte((StellaBulkFormat Format, StellaBulkVectorType Type) each)
    {
        var schema = new PartSchema([5, 300], each.Type);
        PartRows rows = PartFiles.CreateRows(schema, 12_000);
        PartRows[] calls = [.. ((int[])[0, 1, 2, 4_000, 9_999, 10_000, 10_001, 12_000]).Zip([1, 2, 4_000, 9_999, 10_000, 10_001, 12_000], (from, to) => rows.Slice(schema, from, to - from))];
        Assert.That(Hashes(calls), Is.EqualTo(Hashes(rows)));

        IEnumerable<string> Hashes(params PartRows[] written) => PartFiles.Write(each.Format, schema, written).Values.Select(file => FileContent.Hash(file));
    }

    /// <summary>The job uses its arrays again, so they may be longer than their content and change after the call.</summary>
    [TestCaseSource(nameof(All))]
    public void Nothing_beyond_the_rows_is_written((StellaBulkFormat Format, StellaBulkVectorType Type) each)
    {
        var schema = new PartSchema([5], each.Type);
        PartRows rows = PartFiles.CreateRows(schema, 30);
        PartRows longer = new() { Count = 20, Ids = rows.Ids, Tokens = rows.Tokens, Truncated = rows.Truncated, Vectors = rows.Vectors };
        PartRows exact = new()
        {
            Count = 20,
            Ids = [.. rows.Ids.Take(20)],
            Tokens = [.. rows.Tokens.Take(20)],
            Truncated = [.. rows.Truncated.Take(20)],
            Vectors = [rows.Vectors[0][..100]],
        };
        Assert.That(PartFiles.Write(each.Format, schema, longer), Is.EqualTo(PartFiles.Write(each.Format, schema, exact)));
    }

    [TestCase(StellaBulkFormat.Parquet, ".parquet")]
    [TestCase(StellaBulkFormat.JsonLines, ".jsonl")]
    [TestCase(StellaBulkFormat.Npy, ".ids.jsonl", ".npy")]
    public void A_part_of_one_dimension_has_these_files(StellaBulkFormat format, params string[] extensions) =>
        Assert.That(PartFormats.Of(format).ExtensionsOf(new PartSchema([2], StellaBulkVectorType.Half)), Is.EqualTo(extensions));

    [Test]
    public void Each_dimension_has_an_array() =>
        Assert.That(PartFormats.Of(StellaBulkFormat.Npy).ExtensionsOf(TwoDimensions), Is.EqualTo(new[] { ".ids.jsonl", ".embedding_2.npy", ".embedding_9.npy" }));

    [TestCase(StellaBulkVectorType.Float32, """{"id":"a","tokens":3,"truncated":false,"embedding":[1,-0.1]}""")]
    [TestCase(StellaBulkVectorType.Half, """{"id":"a","tokens":3,"truncated":false,"embedding":[1,-0.099975586]}""")]
    [TestCase(StellaBulkVectorType.Int8, """{"id":"a","tokens":3,"truncated":false,"scale":0.007874016,"embedding":[127,-13]}""")]
    [TestCase(StellaBulkVectorType.Binary, """{"id":"a","tokens":3,"truncated":false,"dimension":2,"embedding":[128]}""")]
    public void A_line_has_the_vector_as_the_embed_command_writes_it(StellaBulkVectorType type, string line)
    {
        PartRows rows = new() { Count = 1, Ids = ["a"], Tokens = [3], Truncated = [false], Vectors = [new float[] { 1, -0.1f }] };
        Assert.That(Encoding.UTF8.GetString(PartFiles.Write(StellaBulkFormat.JsonLines, new PartSchema([2], type), rows)[".jsonl"]), Is.EqualTo(line + "\n"));
    }

    [Test]
    public void Several_dimensions_have_their_names_in_a_line()
    {
        JsonElement row = JsonSerializer.Deserialize<JsonElement>(
            PartFiles.Write(StellaBulkFormat.JsonLines, TwoDimensions, PartFiles.CreateRows(TwoDimensions, 1))[".jsonl"]);
        Assert.That(
            row.EnumerateObject().Select(property => property.Name),
            Is.EqualTo(new[] { "id", "tokens", "truncated", "embedding_2_scale", "embedding_2", "embedding_9_scale", "embedding_9" }));
    }

    [TestCase(StellaBulkVectorType.Float32, "<f4", 9)]
    [TestCase(StellaBulkVectorType.Half, "<f2", 9)]
    [TestCase(StellaBulkVectorType.Int8, "|i1", 9)]
    [TestCase(StellaBulkVectorType.Binary, "|u1", 2)]
    public void An_array_begins_with_its_type_and_shape(StellaBulkVectorType type, string descriptor, int columns)
    {
        var schema = new PartSchema([9], type);
        byte[] file = PartFiles.Write(StellaBulkFormat.Npy, schema, PartFiles.CreateRows(schema, 3), PartFiles.CreateRows(schema, 2))[".npy"];
        string header = Encoding.Latin1.GetString(file[..128]);
        Assert.Multiple(() =>
        {
            Assert.That(header, Is.EqualTo($"\u0093NUMPY\u0001\0v\0{{'descr': '{descriptor}', 'fortran_order': False, 'shape': (5, {columns}), }}".PadRight(127) + "\n"));
            Assert.That(file, Has.Length.EqualTo(128 + (5 * VectorBytes.LengthOf(type, 9))));
        });
    }

    [Test]
    public void The_ids_beside_an_array_have_the_scales_of_its_integers()
    {
        PartRows rows = PartFiles.CreateRows(TwoDimensions, 4);
        Dictionary<string, byte[]> files = PartFiles.Write(StellaBulkFormat.Npy, TwoDimensions, rows);
        string[] lines = Encoding.UTF8.GetString(files[".ids.jsonl"]).TrimEnd('\n').Split('\n');
        Assert.Multiple(() =>
        {
            for (int i = 0; i < lines.Length; i++)
            {
                JsonElement line = JsonSerializer.Deserialize<JsonElement>(lines[i]);
                sbyte[] integers = new sbyte[9];
                float scale = Quantization.ToInt8(rows.VectorOf(TwoDimensions, 1, i), integers);
                Assert.That(line.GetProperty("id").GetString(), Is.EqualTo(rows.Ids[i]));
                Assert.That(line.GetProperty("embedding_9_scale").GetSingle(), Is.EqualTo(scale));
                Assert.That(files[".embedding_9.npy"][(128 + (i * 9))..(128 + ((i + 1) * 9))], Is.EqualTo(MemoryMarshal.AsBytes<sbyte>(integers).ToArray()));
            }
        });
    }
}
