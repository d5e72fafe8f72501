namespace StellaInterop.Bulk.Inputs;

/// <summary>Reads a file line by line. A subclass makes rows of the lines.</summary>
internal abstract class LineReader : RowReader
{
    private readonly BlockReader blocks;
    private readonly int maxRowBytes;
    private RowPosition position;

    /// <param name="blocks">The content, at its begin.</param>
    /// <param name="from">The place at which reading begins.</param>
    /// <param name="maxRowBytes">The longest line.</param>
    protected LineReader(BlockReader blocks, RowPosition from, int maxRowBytes)
    {
        this.blocks = blocks;
        this.maxRowBytes = maxRowBytes;
        position = from;
        if (from.Offset == 0)
        {
            blocks.SkipByteOrderMark();
        }
        else
        {
            blocks.MoveTo(from.Offset);
        }
    }

    public sealed override RowPosition Position => position;

    public sealed override bool Read(out InputRow row)
    {
        while (true)
        {
            int length = FindLineEnd(out bool isTooLong);
            if (length < 0)
            {
                row = default;
                return false;
            }

            long number = position.Number + 1;
            bool isRow = true;
            if (isTooLong)
            {
                row = RowTexts.TooLong(number, maxRowBytes);
            }
            else
            {
                ReadOnlySpan<byte> line = blocks.Kept[..length];
                isRow = TryParse(number, line.EndsWith("\r"u8) ? line[..^1] : line, out row);
            }

            // The last line may have no line end.
            blocks.Skip(Math.Min(length + 1, blocks.Kept.Length));
            position = new RowPosition(number, blocks.Offset);
            if (isRow)
            {
                return true;
            }
        }
    }

    /// <summary>Makes a row of a line.</summary>
    /// <returns><see langword="false"/> if the line is no row.</returns>
    protected abstract bool TryParse(long number, ReadOnlySpan<byte> line, out InputRow row);

    protected sealed override void Dispose(bool disposing) => blocks.Dispose();

    /// <summary>Returns the length of the next line; a negative number at the end of the file. The start of a line that is too long is given up.</summary>
    private int FindLineEnd(out bool isTooLong)
    {
        isTooLong = false;
        int searched = 0;
        while (true)
        {
            int found = blocks.Kept[searched..].IndexOf((byte)'\n');
            int length = found < 0 ? blocks.Kept.Length : searched + found;
            if (length > maxRowBytes)
            {
                isTooLong = true;
            }

            if (found >= 0)
            {
                return length;
            }

            if (isTooLong)
            {
                blocks.Skip(length);
            }

            searched = blocks.Kept.Length;
            if (!blocks.Fill())
            {
                return blocks.Kept.Length > 0 || isTooLong ? blocks.Kept.Length : -1;
            }
        }
    }
}
