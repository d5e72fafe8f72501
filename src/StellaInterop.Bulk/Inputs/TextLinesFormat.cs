namespace StellaInterop.Bulk.Inputs;

/// <summary>Reads files with one text per line, without ids.</summary>
internal sealed class TextLinesFormat : IInputFormat
{
    public string Name => "text lines";

    public IReadOnlyList<string> Extensions { get; } = CompressedContent.Extend(".txt");

    public InputAccess Access => InputAccess.Sequential;

    public RowReader Open(string fileName, Stream content, InputColumns columns, RowPosition from) =>
        Open(new BlockReader(fileName, content), from, RowReader.MaxRowBytes);

    /// <summary>Opens a reader with another limit for the length of a line.</summary>
    internal static RowReader Open(BlockReader blocks, RowPosition from, int maxRowBytes) =>
        OpenedContent.Use(blocks, () => new Reader(blocks, from, maxRowBytes));

    private sealed class Reader(BlockReader blocks, RowPosition from, int maxRowBytes) : LineReader(blocks, from, maxRowBytes)
    {
        protected override bool TryParse(long number, ReadOnlySpan<byte> line, out InputRow row)
        {
            row = RowTexts.FromBytes(number, null, line);
            return true;
        }
    }
}
