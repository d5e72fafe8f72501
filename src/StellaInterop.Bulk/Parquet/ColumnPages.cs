using System.Buffers;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Appends the values of one row as the encoding <c>PLAIN</c> has them, except that a boolean is one byte.</summary>
/// <param name="row">The index of the row in its call.</param>
/// <param name="page">The values of the rows before it on the page.</param>
internal delegate void RowAppender(int row, ArrayBufferWriter<byte> page);

/// <summary>
/// Writes a column of a row group as its rows come. The file has one column after the other, so the pages wait in a spool until the columns
/// before this one are complete. The memory does not grow with the rows.
/// </summary>
/// <param name="column">The column.</param>
/// <param name="pages">Compresses the pages.</param>
/// <param name="createScratch">Creates the scratch file of the spool.</param>
internal sealed class ColumnPages(ParquetColumn column, PageWriter pages, Func<Stream> createScratch)
{
    /// <summary>A page ends with the first row that makes it this long or longer.</summary>
    private const int PageBytes = 1 << 20;

    private readonly ArrayBufferWriter<byte> values = new();
    private readonly Spool spool = new(createScratch);
    private int pageRows;
    private int rows;
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

    /// <summary>Writes the column to the file, and begins the next row group.</summary>
    public ColumnChunk EndRowGroup(Stream output)
    {
        EndPage();
        var chunk = new ColumnChunk(column, output.Position, (long)rows * column.ValuesPerRow, uncompressedBytes, compressedBytes);
        spool.MoveTo(output);
        (rows, uncompressedBytes, compressedBytes) = (0, 0, 0);
        return chunk;
    }

    private void EndPage()
    {
        if (pageRows == 0)
        {
            return;
        }

        ReadOnlySpan<byte> page = pages.Write(column, pageRows, values.WrittenSpan, out int uncompressed);
        spool.Write(page);
        uncompressedBytes += uncompressed;
        compressedBytes += page.Length;
        rows += pageRows;
        pageRows = 0;
        values.ResetWrittenCount();
    }
}
