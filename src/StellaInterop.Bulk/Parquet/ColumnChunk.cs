namespace StellaInterop.Bulk.Parquet;

/// <summary>Represents a column of a row group that was written.</summary>
/// <param name="Column">The column.</param>
/// <param name="Offset">The offset of the first page in the file.</param>
/// <param name="ValueCount">The number of values.</param>
/// <param name="UncompressedBytes">The number of bytes of the pages and their headers before compression.</param>
/// <param name="CompressedBytes">The number of bytes of the pages and their headers.</param>
internal sealed record ColumnChunk(ParquetColumn Column, long Offset, long ValueCount, long UncompressedBytes, long CompressedBytes);
