using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Jobs;

/// <summary>
/// Reads the rows of chunks. The file of a chunk stays open for the next one, so that a compressed file is decompressed once. Not
/// thread-safe.
/// </summary>
/// <param name="files">The input files.</param>
/// <param name="columns">The columns that the job reads.</param>
/// <param name="plan">The plan.</param>
/// <param name="copies">The copies of compressed inputs, if there are any.</param>
/// <param name="safeguards">The safeguards; all but in tests.</param>
internal sealed class ChunkReader(
    IReadOnlyList<InputFile> files, InputColumns columns, BulkPlan plan, InputCopies? copies = null, Safeguards safeguards = Safeguards.All) : IDisposable
{
    private RowReader? reader;
    private int file;

    /// <summary>Reads the rows of a part, some at a time. All rows of its chunk are read for the checksum.</summary>
    /// <param name="part">The part.</param>
    /// <param name="maxRows">The largest number of rows at a time.</param>
    /// <exception cref="StellaBulkException">A file cannot be read, or its rows are not those that were planned.</exception>
    public IEnumerable<List<RowInHand>> Read(PartId part, int maxRows)
    {
        Chunk chunk = plan.Chunks[part.Chunk];
        (long begin, long count) = part.RowsOf(chunk.RowCount);
        if (reader is null || file != chunk.File || reader.Position != chunk.Position)
        {
            Open(chunk.File, chunk.Position);
        }

        ulong checksum = 0;
        var rows = new List<RowInHand>();
        for (long i = 0; i < chunk.RowCount; i++)
        {
            InputRow row = Next();
            checksum = RowChecksum.Add(checksum, file, row);
            if (i < begin || i >= begin + count)
            {
                continue;
            }

            rows.Add(RowInHand.Of(files[file].Name, row));
            if (rows.Count == maxRows && i + 1 < begin + count)
            {
                yield return rows;
                rows = [];
            }
        }

        // The last rows are held back until the checksum is known, so that no chunk is complete without it.
        if (checksum != chunk.Checksum && safeguards.HasFlag(Safeguards.RowChecksum))
        {
            throw InputCheck.Changed(files[file], "since it was planned");
        }

        yield return rows;
    }

    public void Dispose() => reader?.Dispose();

    private InputRow Next()
    {
        while (true)
        {
            try
            {
                if (reader!.Read(out InputRow row))
                {
                    return row;
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw files[file].Unreadable(e);
            }

            if (file + 1 == files.Count)
            {
                throw InputCheck.Changed(files[file], "since it was planned");
            }

            Open(file + 1, default);
        }
    }

    private void Open(int index, RowPosition position)
    {
        reader?.Dispose();
        reader = null;
        file = index;
        InputFile input = files[index];
        Stream? copy = position.Offset > 0 ? copies?.TryOpen(plan.Files[index]) : null;
        reader = input.Guarded(() => input.Format.Open(input.Name, copy ?? input.OpenContent(), columns, position));
    }
}
