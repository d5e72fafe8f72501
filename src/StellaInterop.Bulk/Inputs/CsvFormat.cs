using System.Text;

namespace StellaInterop.Bulk.Inputs;

/// <summary>Reads CSV (RFC 4180) and TSV, its form with tabs. The first record has the names of the columns.</summary>
/// <remarks>
/// The library has a reader of its own, because reading continues at a byte offset and after a record that is not valid. The readers that
/// were considered give neither: see docs/decisions/bulk.md.
/// </remarks>
internal sealed class CsvFormat : IInputFormat
{
    private readonly byte delimiter;

    private CsvFormat(string name, string extension, byte delimiter)
    {
        Name = name;
        Extensions = CompressedContent.Extend(extension);
        this.delimiter = delimiter;
    }

    public static CsvFormat Commas { get; } = new("CSV", ".csv", (byte)',');

    public static CsvFormat Tabs { get; } = new("TSV", ".tsv", (byte)'\t');

    public string Name { get; }

    public IReadOnlyList<string> Extensions { get; }

    public InputAccess Access => InputAccess.Sequential;

    public RowReader Open(string fileName, Stream content, InputColumns columns, RowPosition from) =>
        Open(fileName, new BlockReader(fileName, content), columns, from, RowReader.MaxRowBytes);

    /// <summary>Opens a reader with another limit for the length of a record.</summary>
    internal RowReader Open(string fileName, BlockReader blocks, InputColumns columns, RowPosition from, int maxRowBytes) =>
        OpenedContent.Use(blocks, () => new Reader(fileName, blocks, delimiter, columns, from, maxRowBytes));

    private sealed class Reader : RowReader
    {
        private readonly BlockReader blocks;
        private readonly CsvRecords records;
        private readonly int columnCount;
        private readonly int textColumn;
        private readonly int? idColumn;
        private readonly int maxRowBytes;
        private RowPosition position;

        public Reader(string fileName, BlockReader blocks, byte delimiter, InputColumns columns, RowPosition from, int maxRowBytes)
        {
            this.blocks = blocks;
            this.maxRowBytes = maxRowBytes;
            records = new CsvRecords(blocks, delimiter, maxRowBytes);
            blocks.SkipByteOrderMark();
            string[] names = ReadNames(fileName);
            columnCount = names.Length;
            textColumn = IndexOf(fileName, names, "--text", columns.Text);
            idColumn = columns.Id is { } id ? IndexOf(fileName, names, "--id", id)
                : names.Contains(InputColumns.DefaultId) ? IndexOf(fileName, names, "--id", InputColumns.DefaultId)
                : null;
            position = from;
            if (from.Offset > 0)
            {
                blocks.MoveTo(from.Offset);
            }
        }

        public override RowPosition Position => position;

        public override bool Read(out InputRow row)
        {
            CsvEnd end;
            int length;
            while (true)
            {
                end = records.Find(out length);
                // A blank line is a record of one empty field, which only a file with one column has.
                if (end != CsvEnd.Record || columnCount == 1 || !records.IsBlank)
                {
                    break;
                }

                records.Skip(length);
            }

            if (end == CsvEnd.File)
            {
                row = default;
                return false;
            }

            row = ToRow(position.Number + 1, end);
            records.Skip(length);
            position = new RowPosition(row.Number, blocks.Offset);
            return true;
        }

        protected override void Dispose(bool disposing) => blocks.Dispose();

        private string[] ReadNames(string fileName)
        {
            CsvEnd end = records.Find(out int length);
            if (end != CsvEnd.Record)
            {
                throw InputError.Create(
                    fileName,
                    end == CsvEnd.File
                        ? "is empty. Its first row must have the names of the columns."
                        : "has a first row that is not valid CSV. The first row must have the names of the columns, and quotes in a name must be doubled.");
            }

            string[] names = [.. Enumerable.Range(0, records.Count).Select(index => Encoding.UTF8.GetString(records.GetField(index)))];
            records.Skip(length);
            return names;
        }

        private static int IndexOf(string fileName, string[] names, string option, string column)
        {
            int index = Array.IndexOf(names, column);
            if (index < 0)
            {
                throw InputError.NoColumn(fileName, option, column, names);
            }

            return Array.IndexOf(names, column, index + 1) < 0
                ? index
                : throw InputError.Create(fileName, $"has two columns '{column}'. Rename one of them, or name another column with {option}.");
        }

        private InputRow ToRow(long number, CsvEnd end)
        {
            switch (end)
            {
                case CsvEnd.TooLong:
                    return RowTexts.TooLong(number, maxRowBytes);
                case CsvEnd.TextAfterQuote:
                    return RowTexts.AtFault(number, null, RowFaultKind.InvalidRow, "The row has text after a closing quote. Double the quotes in a text.");
                case CsvEnd.MissingQuote:
                    return RowTexts.AtFault(
                        number, null, RowFaultKind.InvalidRow, "The row begins a text in quotes that never ends. Add the closing quote, and double the quotes in a text.");
                default:
                    break;
            }

            if (records.Count != columnCount)
            {
                return RowTexts.AtFault(
                    number,
                    null,
                    RowFaultKind.InvalidRow,
                    RowTexts.Format($"The number of columns is {records.Count} here and {columnCount} in the first row. Put a text with delimiters or line breaks in quotes."));
            }

            string? id = idColumn is { } column ? RowTexts.ToId(records.GetField(column)) : null;
            return RowTexts.FromBytes(number, id, records.GetField(textColumn));
        }
    }
}
