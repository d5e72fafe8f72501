using System.Text;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Outputs;

namespace StellaInterop.Bulk.Tests.Support;

/// <summary>An input format of lines <c>id|text</c>. A line <c>!id</c> is at fault, and a blank line is no row.</summary>
internal sealed class TestRows : IInputFormat
{
    public string Name => "test rows";

    public IReadOnlyList<string> Extensions { get; } = [".rows"];

    public InputAccess Access { get; init; } = InputAccess.Sequential;

    /// <summary>The number of readers that were opened.</summary>
    public int OpenCount { get; private set; }

    public RowReader Open(string fileName, Stream content, InputColumns columns, RowPosition from)
    {
        OpenCount++;
        return new Reader(content, from);
    }

    private sealed class Reader : RowReader
    {
        private readonly StreamReader lines;
        private RowPosition position;

        public Reader(Stream content, RowPosition from)
        {
            position = from;
            if (from.Offset > 0)
            {
                content.Position = from.Offset;
            }

            lines = new StreamReader(content, Encoding.UTF8);
        }

        public override RowPosition Position => position;

        public override bool Read(out InputRow row)
        {
            while (lines.ReadLine() is { } line)
            {
                position = new RowPosition(position.Number + 1, position.Offset + Encoding.UTF8.GetByteCount(line) + 1);
                if (line.Length == 0)
                {
                    continue;
                }

                int bar = line.IndexOf('|');
                row = line[0] == '!'
                    ? new InputRow(position.Number, line[1..], null, new RowFault(RowFaultKind.NullText, "The text is null."))
                    : new InputRow(position.Number, bar > 0 ? line[..bar] : null, line[(bar + 1)..], null);
                return true;
            }

            row = default;
            return false;
        }

        protected override void Dispose(bool disposing) => lines.Dispose();
    }
}

/// <summary>
/// A part format with two files: the ids and counts of the rows, and the bits of their vectors. As in NumPy with 8-bit integers, the first file
/// also depends on the vectors.
/// </summary>
internal sealed class TestParts : IPartFormat
{
    public StellaBulkFormat Format => StellaBulkFormat.JsonLines;

    public IReadOnlyList<string> ExtensionsOf(PartSchema schema) => [".ids", ".vectors"];

    public IPartWriter Create(PartSchema schema, IReadOnlyList<Stream> files, Func<Stream> createScratch) => new Writer(schema, files);

    private sealed class Writer(PartSchema schema, IReadOnlyList<Stream> files) : IPartWriter
    {
        public void Write(PartRows rows)
        {
            var ids = new StringBuilder();
            var vectors = new StringBuilder();
            for (int i = 0; i < rows.Count; i++)
            {
                uint bits = BitConverter.SingleToUInt32Bits(rows.VectorOf(schema, 0, i)[0]);
                ids.Append($"{rows.Ids[i]} {rows.Tokens[i]} {rows.Truncated[i]} {bits:x8}\n");
                for (int head = 0; head < schema.Dimensions.Count; head++)
                {
                    int dimension = schema.Dimensions[head];
                    foreach (float number in rows.Vectors[head].Span.Slice(i * dimension, dimension))
                    {
                        vectors.Append($"{BitConverter.SingleToUInt32Bits(number):x8} ");
                    }
                }

                vectors.Append('\n');
            }

            files[0].Write(Encoding.UTF8.GetBytes(ids.ToString()));
            files[1].Write(Encoding.UTF8.GetBytes(vectors.ToString()));
        }

        public void Complete()
        {
        }

        public void Dispose()
        {
        }
    }
}
