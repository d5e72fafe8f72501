using System.Text;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Tests.Support;

namespace StellaInterop.Bulk.Tests.Inputs;

/// <summary>A line of JSON Lines is one row, and a bad line is at fault alone.</summary>
internal sealed class JsonLinesTests
{
    [Test]
    public void A_line_gives_its_text_and_id() => Assert.That(
        InputContent.ReadAll("a.jsonl", """
            {"id": "first", "text": "one \u00e9 \ud83d\ude00"}
            {"text": "two", "more": {"text": "no"}, "list": [1, {"id": 2}]}

            {"id": 1.50e1, "text": "three"}
            """),
        Is.EqualTo(new[] { new InputRow(1, "first", "one é 😀", null), new InputRow(2, null, "two", null), new InputRow(4, "1.50e1", "three", null) }));

    [Test]
    public void Options_name_the_fields() => Assert.That(
        InputContent.ReadAll("a.jsonl", """{"id": 1, "text": "no", "key": "k", "body \"1\"": "yes"}""", new InputColumns("body \"1\"", "key")),
        Is.EqualTo(new[] { new InputRow(1, "k", "yes", null) }));

    [Test]
    public void A_byte_order_mark_and_carriage_returns_are_no_content() => Assert.That(
        InputContent.ReadAll("a.ndjson", [.. Encoding.UTF8.Preamble, .. InputContent.Utf8("{\"text\":\"a\"}\r\n{\"text\":\"b\"}\r\n")]).Select(row => row.Text),
        Is.EqualTo(new[] { "a", "b" }));

    [TestCase("{\"other\": \"x\"}", RowFaultKind.MissingText, "The line has no field 'text'. Name the field with the text with --text.")]
    [TestCase("{}", RowFaultKind.MissingText, "The line has no field 'text'. Name the field with the text with --text.")]
    [TestCase("{\"text\": null}", RowFaultKind.NullText, "The field 'text' is null. Give the row a text, or remove it.")]
    [TestCase("{\"text\": 5}", RowFaultKind.TextNotString, "The field 'text' is not a string. Name the field with the text with --text.")]
    [TestCase("{\"text\": [\"x\"]}", RowFaultKind.TextNotString, "The field 'text' is not a string. Name the field with the text with --text.")]
    [TestCase("{\"text\": \"\\ud800\"}", RowFaultKind.NotUnicode, "The field 'text' is not valid UTF-8, or has half of a surrogate pair. Write the whole character.")]
    [TestCase("{\"text\": \"a\"", RowFaultKind.InvalidRow, "The line is not valid JSON at byte 12. Write one JSON object per line.")]
    [TestCase("{\"text\": \"a\"} {}", RowFaultKind.InvalidRow, "The line is not valid JSON at byte 14. Write one JSON object per line.")]
    [TestCase("nonsense", RowFaultKind.InvalidRow, "The line is not valid JSON at byte 1. Write one JSON object per line.")]
    [TestCase("[\"a\"]", RowFaultKind.InvalidRow, "The line is not a JSON object. Write one JSON object per line.")]
    [TestCase("\"a\"", RowFaultKind.InvalidRow, "The line is not a JSON object. Write one JSON object per line.")]
    [TestCase("{\"text\": \"a\", \"id\": true}", RowFaultKind.InvalidRow, "The id is neither a string nor a number. Name another field with --id.")]
    [TestCase("{\"text\": \"a\", \"id\": {}}", RowFaultKind.InvalidRow, "The id is neither a string nor a number. Name another field with --id.")]
    public void A_bad_line_is_at_fault_alone(string line, RowFaultKind kind, string message)
    {
        InputRow[] rows = InputContent.ReadAll("a.jsonl", $"{{\"text\":\"before\"}}\n{line}\n{{\"text\":\"after\"}}");
        Assert.Multiple(() =>
        {
            Assert.That(rows.Select(row => row.Number), Is.EqualTo(new[] { 1, 2, 3 }));
            Assert.That(rows.Select(row => row.Text), Is.EqualTo(new[] { "before", null, "after" }));
            Assert.That(rows[1].Fault?.Kind, Is.EqualTo(kind));
            Assert.That(rows[1].Fault?.Message, Is.EqualTo(message));
        });
    }

    [Test]
    public void A_fault_of_a_text_has_the_id_of_its_row() =>
        Assert.That(InputContent.ReadAll("a.jsonl", """{"text": null, "id": "x"}""")[0], Has.Property(nameof(InputRow.Id)).EqualTo("x"));

    [Test]
    public void Bytes_that_are_not_UTF8_are_a_fault() => Assert.That(
        InputContent.ReadAll("a.jsonl", [.. "{\"text\": \"a"u8, 0xFF, .. "\"}\n{\"text\": \"b\"}"u8]).Select(row => row.Fault?.Kind),
        Is.EqualTo(new RowFaultKind?[] { RowFaultKind.NotUnicode, null }));

    [Test]
    public void Deep_nesting_is_a_fault() => Assert.That(
        InputContent.ReadAll("a.jsonl", $"{{\"x\": {new string('[', 100_000)}, \"text\": \"a\"}}")[0].Fault?.Kind, Is.EqualTo(RowFaultKind.InvalidRow));

    [TestCase(new byte[] { 0xFF, 0xFE, (byte)'a', 0 }, "UTF-16")]
    [TestCase(new byte[] { 0xFE, 0xFF, 0, (byte)'a' }, "UTF-16")]
    [TestCase(new byte[] { 0xFF, 0xFE, 0, 0, (byte)'a', 0, 0, 0 }, "UTF-32")]
    public void A_file_in_another_encoding_is_refused_by_name(byte[] content, string encoding) =>
        Assert.That(InputContent.Refuse("a.jsonl", content).Message, Does.Contain($"is in {encoding}. Convert it to UTF-8"));

    [Test]
    public void A_line_that_is_too_long_is_skipped_without_being_kept()
    {
        using var blocks = new BlockReader("a.jsonl", new SlowStream(InputContent.Utf8($"{{\"text\":\"a\"}}\n{new string('x', 5000)}\n{{\"text\":\"b\"}}\n{new string('y', 5000)}"), 100));
        using RowReader reader = JsonLinesFormat.Open(blocks, new InputColumns(), default, maxRowBytes: 1000);
        var rows = new List<InputRow>();
        int mostKept = 0;
        while (reader.Read(out InputRow row))
        {
            rows.Add(row);
            mostKept = Math.Max(mostKept, blocks.Kept.Length);
        }

        Assert.Multiple(() =>
        {
            Assert.That(rows.Select(row => row.Text), Is.EqualTo(new[] { "a", null, "b", null }));
            Assert.That(rows.Select(row => row.Fault?.Kind), Is.EqualTo(new RowFaultKind?[] { null, RowFaultKind.RowTooLong, null, RowFaultKind.RowTooLong }));
            Assert.That(rows[1].Fault!.Message, Is.EqualTo("The row is longer than the limit of 1000 bytes. Split it, or give the file line ends."));
            Assert.That(mostKept, Is.LessThan(2000));
        });
    }
}
