using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Tests.Support;

namespace StellaInterop.Bulk.Tests.Inputs;

/// <summary>Each line of a text file is one row without an id.</summary>
internal sealed class TextLinesTests
{
    [TestCase("a\nb\n")]
    [TestCase("a\nb")]
    [TestCase("a\r\nb\r\n")]
    [TestCase("\uFEFFa\nb")]
    public void A_line_is_a_text(string content) => Assert.That(
        InputContent.ReadAll("a.txt", content), Is.EqualTo(new[] { new InputRow(1, null, "a", null), new InputRow(2, null, "b", null) }));

    [Test]
    public void A_file_without_bytes_has_no_rows() => Assert.That(InputContent.ReadAll("a.txt", ""), Is.Empty);

    [Test]
    public void An_empty_line_is_an_empty_text() => Assert.That(InputContent.ReadAll("a.txt", "\n\na").Select(row => row.Text), Is.EqualTo(new[] { "", "", "a" }));

    [Test]
    public void A_text_keeps_its_white_space() => Assert.That(InputContent.ReadAll("a.txt", " a\tb \n")[0].Text, Is.EqualTo(" a\tb "));

    [TestCase("a\0b", RowFaultKind.NotUnicode, "The text has a zero byte at byte 1. Convert the file to UTF-8 if it is in UTF-16.")]
    public void A_bad_line_is_at_fault_alone(string line, RowFaultKind kind, string message) => Assert.That(
        InputContent.ReadAll("a.txt", $"before\n{line}\nafter"),
        Is.EqualTo(new[] { new InputRow(1, null, "before", null), new InputRow(2, null, null, new RowFault(kind, message, line.Length)), new InputRow(3, null, "after", null) }));

    [Test]
    public void Bytes_that_are_not_UTF8_are_a_fault_with_their_place() => Assert.That(
        InputContent.ReadAll("a.txt", [(byte)'a', (byte)'b', 0xC3, (byte)'\n', (byte)'c']),
        Is.EqualTo(new[]
        {
            new InputRow(1, null, null, new RowFault(RowFaultKind.NotUnicode, "The text is not valid UTF-8 at byte 2. Convert the file to UTF-8.", 3)),
            new InputRow(2, null, "c", null),
        }));
}
