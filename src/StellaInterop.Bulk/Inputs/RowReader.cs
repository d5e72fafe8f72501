namespace StellaInterop.Bulk.Inputs;

/// <summary>Represents one row of an input file.</summary>
/// <param name="Number">
/// The number of the row in its file, from 1: of the line in JSON Lines and text files, of the record without the header in CSV and TSV, of
/// the row in Parquet. Blank lines of JSON Lines count and are no rows.
/// </param>
/// <param name="Id">The id as text; <see langword="null"/> if the row has none. A number is the text that the file has for it.</param>
/// <param name="Text">The text; <see langword="null"/> exactly if there is a fault. It may be empty.</param>
/// <param name="Fault">The reason why the row has no text; <see langword="null"/> otherwise.</param>
internal readonly record struct InputRow(long Number, string? Id, string? Text, RowFault? Fault);

/// <summary>Represents a place between two rows of a file, at which reading can begin.</summary>
/// <param name="Number">The number of the last row or line before it; 0 at the begin of the file.</param>
/// <param name="Offset">
/// A hint of the reader for itself, such as the offset of the next line in the uncompressed content; 0 at the begin of the file. Two readers of
/// equal content have equal offsets.
/// </param>
internal readonly record struct RowPosition(long Number, long Offset);

/// <summary>Reads the rows of one file in order. The memory is bounded by the longest row, or by a row group of Parquet.</summary>
/// <remarks>
/// A row that cannot be used is a row with a <see cref="RowFault"/>, and reading goes on after it. A fault of the whole file, such as a
/// truncated gzip or a missing column, is a <see cref="StellaBulkException"/> of <see cref="StellaBulkErrorCode.InputUnreadable"/>, whose
/// message names the file. I/O errors of the stream leave the methods as they are. Not thread-safe.
/// </remarks>
internal abstract class RowReader : IDisposable
{
    /// <summary>The longest row in bytes. A longer row is skipped, with <see cref="RowFaultKind.RowTooLong"/>.</summary>
    public const int MaxRowBytes = 64 << 20;

    /// <summary>Gets the place after the last row that was read; at first the place at which the reader was opened.</summary>
    public abstract RowPosition Position { get; }

    /// <summary>Reads the next row.</summary>
    /// <returns><see langword="false"/> at the end of the file.</returns>
    public abstract bool Read(out InputRow row);

    /// <summary>Frees the reader and its stream.</summary>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
