namespace StellaInterop.Bulk.Parquet;

/// <summary>Represents a column of a row group that was written.</summary>
/// <param name="column">The column.</param>
/// <param name="offset">The offset of the first page in the file.</param>
/// <param name="valueCount">The number of values.</param>
internal sealed class ColumnChunk(ParquetColumn column, long offset, long valueCount)
{
    public ParquetColumn Column { get; } = column;

    public long Offset { get; } = offset;

    public long ValueCount { get; } = valueCount;

    /// <summary>Gets or sets the number of bytes of the pages and their headers before compression.</summary>
    public long UncompressedBytes { get; set; }

    /// <summary>Gets or sets the number of bytes of the pages and their headers.</summary>
    public long CompressedBytes { get; set; }
}
