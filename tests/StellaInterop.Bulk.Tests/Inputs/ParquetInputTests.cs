using CsCheck;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Inputs;

/// <summary>Files of other writers are read page by page, from any row.</summary>
internal sealed class ParquetInputTests
{
    /// <summary>Texts with nulls, equal texts, long common prefixes, an empty text, and neighbours of other types.</summary>
    private const string Query = """
        SELECT [i, i + 1] AS list, {'text': i} AS struct, 'row ' || i AS id,
            CASE WHEN i % 7 = 3 THEN NULL WHEN i = 5 THEN '' WHEN i < 900 THEN 'é' || (i % 10) ELSE 'a long common prefix ' || (i * i) || repeat('x', i % 40) END AS text, i / 3 AS number
        FROM range(3000) t(i)
        """;

    private TemporaryFolder folder = null!;

    private static IEnumerable<string> Options() =>
        from version in new[] { "V1", "V2" }
        from codec in new[] { "uncompressed", "snappy", "zstd", "gzip", "brotli" }
        select $"PARQUET_VERSION {version}, COMPRESSION {codec}, ROW_GROUP_SIZE 2048";

    [SetUp]
    public void Create() => folder = new TemporaryFolder();

    [TearDown]
    public void Delete() => folder.Dispose();

    [TestCaseSource(nameof(Options))]
    public void Each_encoding_and_compression_gives_the_same_rows(string options)
    {
        DuckDb.Write(folder.File("a.parquet"), Query, options);
        object?[][] expected = [.. DuckDb.Query(folder.File("a.parquet"), "SELECT id, text FROM $file")];
        InputRow[] rows = ReadAll();
        Assert.Multiple(() =>
        {
            Assert.That(rows.Select(row => row.Number), Is.EqualTo(Enumerable.Range(1, 3000)));
            Assert.That(rows.Select(row => row.Id), Is.EqualTo(expected.Select(row => row[0])));
            Assert.That(rows.Select(row => row.Text), Is.EqualTo(expected.Select(row => row[1])));
            Assert.That(rows[3].Fault, Is.EqualTo(new RowFault(RowFaultKind.NullText, "The text is null. Give the row a text, or remove it.")));
        });
    }

    [TestCase("V1")]
    [TestCase("V2")]
    public void Texts_of_a_dictionary_are_read(string version)
    {
        DuckDb.Write(
            folder.File("a.parquet"), "SELECT CASE WHEN i % 7 = 3 THEN NULL ELSE 'text ' || (i % 11) END AS text FROM range(5000) t(i)", $"PARQUET_VERSION {version}");
        Assert.That(
            DuckDb.Query(folder.File("a.parquet"), "SELECT DISTINCT encodings FROM parquet_metadata($file)").Select(row => (string)row[0]!), Is.All.Contain("DICTIONARY"));
        Assert.That(ReadAll().Select(row => row.Text), Is.EqualTo(Enumerable.Range(0, 5000).Select(i => i % 7 == 3 ? null : $"text {i % 11}")));
    }

    [Test]
    public void Reading_continues_at_any_row()
    {
        DuckDb.Write(folder.File("a.parquet"), Query, "ROW_GROUP_SIZE 2048");
        byte[] content = File.ReadAllBytes(folder.File("a.parquet"));
        InputRow[] whole = InputContent.ReadAll("a.parquet", content);
        Gen.Int[0, whole.Length].Sample(
            start => InputContent.Read("a.parquet", new MemoryStream(content), from: new RowPosition(start, 0)).Select(read => read.Row).SequenceEqual(whole[start..]), iter: 30);
    }

    [TestCase("i::INTEGER", "-1")]
    [TestCase("i::BIGINT", "-1")]
    [TestCase("(i + 5)::UBIGINT", "4")]
    [TestCase("(i + 5)::UTINYINT", "4")]
    [TestCase("'00112233-4455-6677-8899-AABBCCDDEEFF'::UUID", "00112233-4455-6677-8899-aabbccddeeff")]
    [TestCase("NULL::INTEGER", null)]
    [TestCase("''", null)]
    public void An_id_may_be_a_number_or_a_UUID(string id, string? expected)
    {
        DuckDb.Write(folder.File("a.parquet"), $"SELECT {id} AS id, 'a' AS text FROM range(-1, 0) t(i)");
        Assert.That(ReadAll(), Is.EqualTo(new[] { new InputRow(1, expected, "a", null) }));
    }

    [TestCase("1 AS text", "INT32 (INT_32)")]
    [TestCase("1.5::DOUBLE AS text", "DOUBLE")]
    [TestCase("'a'::BLOB AS text", "BYTE_ARRAY")]
    [TestCase("['a'] AS text", "group (LIST)")]
    [TestCase("{'text': 'a'} AS text", "group")]
    public void A_text_of_another_type_is_refused_with_column_and_type(string column, string type)
    {
        DuckDb.Write(folder.File("a.parquet"), $"SELECT {column}");
        Assert.That(
            Refuse().Message,
            Is.EqualTo($"The input file 'a.parquet' has the column 'text' with the type {type}; a text must be a string. Name another column with --text."));
    }

    [Test]
    public void A_column_that_is_missing_is_refused_with_the_columns_of_the_file()
    {
        DuckDb.Write(folder.File("a.parquet"), "SELECT 'a' AS body, [1] AS list");
        Assert.That(Refuse().Message, Is.EqualTo("The input file 'a.parquet' has no column 'text'. Its columns are 'body', 'list'. Name one of them with --text."));
    }

    [TestCase(0)]
    [TestCase(11)]
    [TestCase(5000)]
    public void A_file_that_is_not_Parquet_is_refused(int length) => Assert.That(
        InputContent.Refuse("a.parquet", new byte[length]).Message,
        Is.EqualTo("The input file 'a.parquet' is not a Parquet file, or is damaged: The file does not end as a Parquet file does. Write or copy it again."));

    [Test]
    public void A_damaged_file_is_refused_or_read_but_never_breaks_the_reader()
    {
        DuckDb.Write(folder.File("a.parquet"), Query + " LIMIT 200", "PARQUET_VERSION V2, COMPRESSION uncompressed");
        byte[] content = File.ReadAllBytes(folder.File("a.parquet"));
        Gen.Select(Gen.Int[0, content.Length - 1], Gen.Byte, Gen.Bool).Sample((at, value, isFooter) =>
        {
            byte[] damaged = [.. content];
            damaged[isFooter ? content.Length - 1 - (at % 1500) : at] = value;
            try
            {
                InputContent.ReadAll("a.parquet", damaged);
            }
            catch (StellaBulkException e) when (e.Code == StellaBulkErrorCode.InputUnreadable)
            {
                // This is the right answer to a damaged file.
            }
        });
    }

    private InputRow[] ReadAll() => InputContent.ReadAll("a.parquet", File.ReadAllBytes(folder.File("a.parquet")));

    private StellaBulkException Refuse() => InputContent.Refuse("a.parquet", File.ReadAllBytes(folder.File("a.parquet")));
}
