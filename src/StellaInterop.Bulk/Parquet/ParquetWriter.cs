using System.Buffers.Binary;

namespace StellaInterop.Bulk.Parquet;

/// <summary>
/// Writes a Parquet file: zstd, data pages of version 1, no dictionaries, no statistics. Equal rows give equal bytes. The stream starts
/// at the position 0.
/// </summary>
/// <remarks>docs/decisions/bulk.md has the reasons for a writer of its own.</remarks>
internal sealed class ParquetWriter : IDisposable
{
    /// <summary>
    /// The name of the writer in the file. The number is that of the layout, which this class defines, and stays the same in other versions
    /// of the program. Readers expect the form "NAME version N (build HASH)".
    /// </summary>
    private const string CreatedBy = "StellaInterop version 1 (build 1)";

    private const int FormatVersion = 1;
    private const int Utf8Annotation = 0;
    private const int ListAnnotation = 3;

    private readonly Stream output;
    private readonly IReadOnlyList<ParquetColumn> columns;
    private readonly KeyValuePair<string, string>[] metadata;
    private readonly int rowGroupRows;
    private readonly PageWriter pages = new();
    private readonly ColumnPages[] columnPages;
    private readonly List<RowGroup> rowGroups = [];
    private int openRows;

    /// <summary>Writes the begin of the file.</summary>
    /// <param name="output">The stream, which stays open.</param>
    /// <param name="columns">The columns.</param>
    /// <param name="rowGroupRows">The rows of each row group but the last.</param>
    /// <param name="createScratch">Creates a file for pages that wait, which the caller disposes.</param>
    /// <param name="metadata">Keys and values of the file.</param>
    public ParquetWriter(
        Stream output, IReadOnlyList<ParquetColumn> columns, int rowGroupRows, Func<Stream> createScratch, params KeyValuePair<string, string>[] metadata)
    {
        this.output = output;
        this.columns = columns;
        this.metadata = metadata;
        this.rowGroupRows = rowGroupRows;
        // Pages of the widest column do not wait, because they are most of the bytes. The footer has the offset of each column.
        ParquetColumn widest = columns.MaxBy(column => (long)column.ValuesPerRow * column.ValueBytes)!;
        columnPages = [.. columns.Select(column => new ColumnPages(column, pages, output, ReferenceEquals(column, widest) ? null : new Spool(createScratch)))];
        output.Write(ParquetMagic.Bytes);
    }

    /// <summary>Writes rows. The cut of rows into calls changes no byte of the file.</summary>
    /// <param name="rows">The number of rows.</param>
    /// <param name="appenders">The values of each column, which are read column by column.</param>
    public void Write(int rows, IReadOnlyList<RowAppender> appenders)
    {
        for (int first = 0, count; first < rows; first += count)
        {
            count = Math.Min(rows - first, rowGroupRows - openRows);
            for (int i = 0; i < columnPages.Length; i++)
            {
                columnPages[i].Add(first, count, appenders[i]);
            }

            openRows += count;
            if (openRows == rowGroupRows)
            {
                EndRowGroup();
            }
        }
    }

    /// <summary>Writes the end of the file.</summary>
    public void Complete()
    {
        EndRowGroup();
        var footer = new CompactWriter();
        footer.WriteInt32(1, FormatVersion);
        WriteSchema(footer);
        footer.WriteInt64(3, rowGroups.Sum(group => (long)group.Rows));
        footer.WriteStructList(4, rowGroups, group => WriteRowGroup(footer, group));
        footer.WriteStructList(5, metadata, pair =>
        {
            footer.WriteString(1, pair.Key);
            footer.WriteString(2, pair.Value);
        });
        footer.WriteString(6, CreatedBy);
        footer.WriteStop();

        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(length, footer.Written.Length);
        output.Write(footer.Written);
        output.Write(length);
        output.Write(ParquetMagic.Bytes);
    }

    public void Dispose() => pages.Dispose();

    private void EndRowGroup()
    {
        if (openRows > 0)
        {
            foreach (ColumnPages column in columnPages)
            {
                column.EndPage();
            }

            rowGroups.Add(new RowGroup(openRows, [.. columnPages.Select(column => column.EndRowGroup())]));
            openRows = 0;
        }
    }

    /// <summary>Writes the nodes of the schema, depth first. A list is a group with a repeated group with the elements.</summary>
    private void WriteSchema(CompactWriter footer)
    {
        var nodes = new List<Action> { () => WriteGroup(footer, null, ParquetNames.Root, columns.Count) };
        foreach (ParquetColumn column in columns)
        {
            if (column.ListLength > 0)
            {
                nodes.Add(() =>
                {
                    WriteGroup(footer, Repetition.Required, column.Name, 1);
                    footer.WriteInt32(6, ListAnnotation);
                    WriteLogicalType(footer, LogicalType.List);
                });
                nodes.Add(() => WriteGroup(footer, Repetition.Repeated, ParquetNames.List, 1));
            }

            nodes.Add(() => WriteLeaf(footer, column));
        }

        footer.WriteStructList(2, nodes, node => node());
    }

    private static void WriteGroup(CompactWriter footer, Repetition? repetition, string name, int children)
    {
        if (repetition is { } known)
        {
            footer.WriteInt32(3, (int)known);
        }

        footer.WriteString(4, name);
        footer.WriteInt32(5, children);
    }

    private static void WriteLeaf(CompactWriter footer, ParquetColumn column)
    {
        footer.WriteInt32(1, (int)column.Type);
        if (column.TypeLength > 0)
        {
            footer.WriteInt32(2, column.TypeLength);
        }

        footer.WriteInt32(3, (int)Repetition.Required);
        footer.WriteString(4, column.Path[^1]);
        if (column.Logical == LogicalType.String)
        {
            footer.WriteInt32(6, Utf8Annotation);
        }

        if (column.Logical != LogicalType.None)
        {
            WriteLogicalType(footer, column.Logical);
        }
    }

    /// <summary>Writes the union of logical types: the field of the type, with an empty structure.</summary>
    private static void WriteLogicalType(CompactWriter footer, LogicalType type) =>
        footer.WriteStruct(10, () => footer.WriteStruct((int)type, () => { }));

    private static void WriteRowGroup(CompactWriter footer, RowGroup group)
    {
        footer.WriteStructList(1, group.Columns, chunk =>
        {
            footer.WriteInt64(2, 0);
            footer.WriteStruct(3, () => WriteChunk(footer, chunk));
        });
        footer.WriteInt64(2, group.Columns.Sum(chunk => chunk.UncompressedBytes));
        footer.WriteInt64(3, group.Rows);
        footer.WriteInt64(5, group.Columns.Min(chunk => chunk.Offset));
        footer.WriteInt64(6, group.Columns.Sum(chunk => chunk.CompressedBytes));
    }

    private static void WriteChunk(CompactWriter footer, ColumnChunk chunk)
    {
        footer.WriteInt32(1, (int)chunk.Column.Type);
        footer.WriteInt32List(2, [(int)chunk.Column.Encoding, (int)ParquetEncoding.Rle]);
        footer.WriteStringList(3, chunk.Column.Path);
        footer.WriteInt32(4, (int)ParquetCodec.Zstd);
        footer.WriteInt64(5, chunk.ValueCount);
        footer.WriteInt64(6, chunk.UncompressedBytes);
        footer.WriteInt64(7, chunk.CompressedBytes);
        footer.WriteInt64(9, chunk.Offset);
    }

    private sealed record RowGroup(int Rows, ColumnChunk[] Columns);
}
