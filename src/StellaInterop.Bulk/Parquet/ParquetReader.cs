using System.Buffers.Binary;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Reads columns at the root of the schema of a Parquet file, row by row. The memory is that of a page of each column.</summary>
/// <remarks>docs/decisions/bulk.md has the reasons for a reader of its own.</remarks>
internal sealed class ParquetReader
{
    /// <summary>The number of bytes after the metadata: its length, and the magic.</summary>
    private const int TailBytes = sizeof(int) + ParquetMagic.Length;

    private readonly Stream stream;
    private readonly ParquetMetadata metadata;
    private readonly FileColumn[] columns;
    private ColumnCursor[] cursors = [];
    private int nextRowGroup;
    private long rowsLeft;

    private ParquetReader(Stream stream, ParquetMetadata metadata, FileColumn[] columns)
    {
        this.stream = stream;
        this.metadata = metadata;
        this.columns = columns;
    }

    /// <summary>Gets the columns at the root of the schema.</summary>
    public IReadOnlyList<FileColumn> AllColumns => metadata.Columns;

    /// <summary>Opens a file.</summary>
    /// <param name="stream">The file, which stays open.</param>
    /// <param name="names">The names of the columns that are read, if the file has them.</param>
    /// <exception cref="InvalidDataException">The file is not Parquet, or is damaged.</exception>
    public static ParquetReader Open(Stream stream, IReadOnlyList<string> names)
    {
        ParquetMetadata metadata = ReadMetadata(stream, names);
        return new ParquetReader(stream, metadata, [.. metadata.Columns.Where(column => names.Contains(column.Name))]);
    }

    /// <summary>Returns the index of a column in a row; a negative number if the file does not have it.</summary>
    public int IndexOf(string name) => Array.FindIndex(columns, column => column.Name == name);

    /// <summary>Returns a column of a row.</summary>
    public FileColumn GetColumn(int index) => columns[index];

    /// <summary>Moves to a row.</summary>
    /// <param name="row">The number of rows before it.</param>
    public void MoveTo(long row)
    {
        (nextRowGroup, rowsLeft) = (0, 0);
        while (nextRowGroup < metadata.RowGroups.Count && row >= metadata.RowGroups[nextRowGroup].RowCount)
        {
            row -= metadata.RowGroups[nextRowGroup].RowCount;
            nextRowGroup++;
        }

        if (row > 0 && MoveNext())
        {
            Array.ForEach(cursors, cursor => cursor.Skip(row));
            rowsLeft -= row - 1;
        }
    }

    /// <summary>Moves to the next row, whose values are then read with <see cref="Read"/>, each exactly once.</summary>
    /// <returns><see langword="false"/> at the end of the file.</returns>
    public bool MoveNext()
    {
        while (rowsLeft == 0)
        {
            if (nextRowGroup == metadata.RowGroups.Count)
            {
                return false;
            }

            FileRowGroup group = metadata.RowGroups[nextRowGroup++];
            rowsLeft = group.RowCount;
            cursors = [.. columns.Select(column => new ColumnCursor(
                stream, column, group.Chunks.GetValueOrDefault(column.Name) ?? throw new InvalidDataException($"A row group has no column '{column.Name}'.")))];
        }

        rowsLeft--;
        return true;
    }

    /// <summary>Reads a value of the current row.</summary>
    /// <returns><see langword="false"/> for null.</returns>
    public bool Read(int index, out ReadOnlySpan<byte> value) => cursors[index].Read(out value);

    private static ParquetMetadata ReadMetadata(Stream stream, IReadOnlyList<string> names)
    {
        long length = stream.Length;
        byte[] tail = new byte[(int)Math.Min(length, TailBytes)];
        stream.Position = length - tail.Length;
        stream.ReadExactly(tail);
        if (length < TailBytes + ParquetMagic.Length || !tail.AsSpan().EndsWith(ParquetMagic.Bytes))
        {
            throw new InvalidDataException("The file does not end as a Parquet file does.");
        }

        int metadataBytes = BinaryPrimitives.ReadInt32LittleEndian(tail);
        if (metadataBytes < 0 || metadataBytes > length - TailBytes - ParquetMagic.Length)
        {
            throw new InvalidDataException("The metadata of the Parquet file is longer than the file.");
        }

        byte[] bytes = new byte[metadataBytes];
        stream.Position = length - TailBytes - metadataBytes;
        stream.ReadExactly(bytes);
        return ParquetMetadata.Parse(bytes, names);
    }
}
