using System.Buffers;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Appends the values of one row as the encoding <c>PLAIN</c> has them, except that a boolean is one byte.</summary>
/// <param name="row">The index of the row in its call.</param>
/// <param name="page">The values of the rows before it on the page.</param>
internal delegate void RowAppender(int row, ArrayBufferWriter<byte> page);

/// <summary>
/// Writes a column of a row group as its rows come. The file has one column after the other, so one column of a file has no spool, and the
/// pages of the others wait in theirs. The memory does not grow with the rows.
/// </summary>
/// <param name="column">The column.</param>
/// <param name="pages">Compresses the pages.</param>
/// <param name="output">The file.</param>
/// <param name="spool">Keeps the pages until the row group ends; <see langword="null"/> for the column whose pages go to the file at once.</param>
internal sealed class ColumnPages(ParquetColumn column, PageWriter pages, Stream output, Spool? spool)
{
    /// <summary>A page ends with the first row that makes it this long or longer.</summary>
    private const int PageBytes = 1 << 20;

    private readonly ArrayBufferWriter<byte> values = new();
    private int pageRows;
    private int rows;
    private long offset;
    private long uncompressedBytes;
    private long compressedBytes;

    /// <summary>Adds rows to the row group.</summary>
    /// <param name="first">The index of the first row.</param>
    /// <param name="count">The number of rows.</param>
    /// <param name="append">The values.</param>
    public void Add(int first, int count, RowAppender append)
    {
        for (int row = first; row < first + count; row++)
        {
            append(row, values);
            pageRows++;
            if (values.WrittenCount >= PageBytes)
            {
                EndPage();
            }
        }
    }

    /// <summary>Ends the page of the last rows.</summary>
    public void EndPage()
    {
        if (pageRows == 0)
        {
            return;
        }

        ReadOnlySpan<byte> page = pages.Write(column, pageRows, values.WrittenSpan, out int uncompressed);
        if (spool is null)
        {
            offset = rows == 0 ? output.Position : offset;
            output.Write(page);
        }
        else
        {
            spool.Write(page);
        }

        uncompressedBytes += uncompressed;
        compressedBytes += page.Length;
        rows += pageRows;
        pageRows = 0;
        values.ResetWrittenCount();
    }

    /// <summary>Writes the pages that waited, and begins the next row group. All columns have ended their last pages.</summary>
    public ColumnChunk EndRowGroup()
    {
        if (spool is not null)
        {
            offset = output.Position;
            spool.MoveTo(output);
        }

        var chunk = new ColumnChunk(column, offset, (long)rows * column.ValuesPerRow, uncompressedBytes, compressedBytes);
        (rows, uncompressedBytes, compressedBytes) = (0, 0, 0);
        return chunk;
    }
}
