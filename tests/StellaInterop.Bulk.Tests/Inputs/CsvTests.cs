using System.Text;
using CsCheck;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Tests.Support;

namespace StellaInterop.Bulk.Tests.Inputs;

/// <summary>CSV and TSV are read by RFC 4180, and a bad row is at fault alone.</summary>
internal sealed class CsvTests
{
    private static readonly Gen<string> Field = Gen.OneOf(
        Gen.String[Gen.Char["ab é,\t\"\r\n"], 0, 8], Any.Of("plain", "\"", "\"\"", ",", "\r\n", "a\nb", "é😀"));

    private static readonly Gen<string[][]> Table = Gen.Int[1, 4].SelectMany(columns => Field.Array[columns].Array[0, 8]);

    [Test]
    public void A_row_gives_its_text_and_id() => Assert.That(
        InputContent.ReadAll("a.csv", "n,text,id\n1,one,x\n\n2,\"two, \"\"2\"\"\",\n3,\"three\r\nlines\",z"),
        Is.EqualTo(new[] { new InputRow(1, "x", "one", null), new InputRow(2, null, "two, \"2\"", null), new InputRow(3, "z", "three\r\nlines", null) }));

    [Test]
    public void Tabs_separate_the_columns_of_TSV() => Assert.That(
        InputContent.ReadAll("a.tsv", "key\tbody\nk\ta, b\n", new InputColumns("body", "key")), Is.EqualTo(new[] { new InputRow(1, "k", "a, b", null) }));

    [TestCase("\n")]
    [TestCase("\r\n")]
    [TestCase("\r")]
    public void Each_line_end_ends_a_row(string lineEnd) => Assert.That(
        InputContent.ReadAll("a.csv", $"\uFEFFtext{lineEnd}a{lineEnd}b{lineEnd}").Select(row => row.Text), Is.EqualTo(new[] { "a", "b" }));

    /// <summary>Reads 1 byte at a time, so each field is cut at each place.</summary>
    [Test]
    public void Any_table_reads_back_as_it_was_written() => Gen.Select(Table, Gen.Bool, Any.Of(',', '\t'), Any.Of("\n", "\r\n", "\r"), Gen.Int[1, 9]).Sample(
        (table, quoteAll, delimiter, lineEnd, blockBytes) =>
        {
            if (table.Length == 0)
            {
                return true;
            }

            var text = new StringBuilder();
            foreach (string[] row in table)
            {
                // A row of one empty field would be a blank line.
                text.AppendJoin(delimiter, row.Select(field => Quote(field, delimiter, quoteAll || row.Length == 1))).Append(lineEnd);
            }

            using var blocks = new BlockReader("a.csv", new SlowStream(Encoding.UTF8.GetBytes(text.ToString()), blockBytes));
            var records = new CsvRecords(blocks, (byte)delimiter, RowReader.MaxRowBytes);
            var read = new List<string[]>();
            while (records.Find(out int length) is var end && end != CsvEnd.File)
            {
                if (end != CsvEnd.Record)
                {
                    return false;
                }

                read.Add([.. Enumerable.Range(0, records.Count).Select(index => Encoding.UTF8.GetString(records.GetField(index)))]);
                records.Skip(length);
            }

            return read.Count == table.Length && read.Zip(table).All(pair => pair.First.SequenceEqual(pair.Second));
        });

    [TestCase("a", "The number of columns is 1 here and 2 in the first row. Put a text with delimiters or line breaks in quotes.")]
    [TestCase("a,b,c", "The number of columns is 3 here and 2 in the first row. Put a text with delimiters or line breaks in quotes.")]
    [TestCase("\"a\"b,c", "The row has text after a closing quote. Double the quotes in a text.")]
    [TestCase("1,\"a\nb\"c", "The row has text after a closing quote. Double the quotes in a text.")]
    public void A_bad_row_is_at_fault_alone(string line, string message) => Assert.That(
        InputContent.ReadAll("a.csv", $"id,text\n0,before\n{line}\n2,after"),
        Is.EqualTo(new[]
        {
            new InputRow(1, "0", "before", null), new InputRow(2, null, null, new RowFault(RowFaultKind.InvalidRow, message)), new InputRow(3, "2", "after", null),
        }));

    [Test]
    public void A_quote_that_is_never_closed_costs_one_row() => Assert.That(
        InputContent.ReadAll("a.csv", "id,text\n0,before\n1,\"open\n2,after\n3,last"),
        Is.EqualTo(new[]
        {
            new InputRow(1, "0", "before", null),
            new InputRow(2, null, null, new RowFault(
                RowFaultKind.InvalidRow, "The row begins a text in quotes that never ends. Add the closing quote, and double the quotes in a text.")),
            new InputRow(3, "2", "after", null),
            new InputRow(4, "3", "last", null),
        }));

    [TestCase("0,{0}\n")]
    [TestCase("0,{0},{0}\n")]
    [TestCase("0,\"{0}\"\n")]
    public void A_row_that_is_too_long_is_at_fault_alone(string line)
    {
        string content = $"id,text\n0,before\n{string.Format(line, new string('x', 3000))}2,after";
        using var blocks = new BlockReader("a.csv", new SlowStream(InputContent.Utf8(content), 100));
        using RowReader reader = CsvFormat.Commas.Open("a.csv", blocks, new InputColumns(), default, maxRowBytes: 1000);
        var rows = new List<InputRow>();
        while (reader.Read(out InputRow row))
        {
            rows.Add(row);
        }

        Assert.Multiple(() =>
        {
            Assert.That(rows.Select(row => row.Text), Is.EqualTo(new[] { "before", null, "after" }));
            Assert.That(rows[1].Fault!.Kind, Is.EqualTo(RowFaultKind.RowTooLong));
        });
    }

    [Test]
    public void A_column_that_is_missing_is_refused_with_the_columns_of_the_file() => Assert.Multiple(() =>
    {
        Assert.That(
            InputContent.Refuse("a.csv", "id,body\n1,a"u8.ToArray()).Message,
            Is.EqualTo("The input file 'a.csv' has no column 'text'. Its columns are 'id', 'body'. Name one of them with --text."));
        Assert.That(
            InputContent.Refuse("a.csv", "id,text\n1,a"u8.ToArray(), new InputColumns(Id: "key")).Message,
            Is.EqualTo("The input file 'a.csv' has no column 'key'. Its columns are 'id', 'text'. Name one of them with --id."));
    });

    [TestCase("", "is empty. Its first row must have the names of the columns.")]
    [TestCase("text,text\na,b", "has two columns 'text'. Rename one of them, or name another column with --text.")]
    [TestCase("\"text\"x\na", "has a first row that is not valid CSV. The first row must have the names of the columns, and quotes in a name must be doubled.")]
    public void A_first_row_that_is_not_the_names_of_columns_is_refused(string content, string problem) =>
        Assert.That(InputContent.Refuse("a.csv", InputContent.Utf8(content)).Message, Is.EqualTo($"The input file 'a.csv' {problem}"));

    private static string Quote(string field, char delimiter, bool always) =>
        always || field.AsSpan().IndexOfAny(['"', '\r', '\n', delimiter]) >= 0 ? $"\"{field.Replace("\"", "\"\"")}\"" : field;
}
