using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Planning;

/// <summary>Represents the result of a pass over the inputs.</summary>
/// <param name="Files">The files with their hashes.</param>
/// <param name="Stamps">The stamp of each file.</param>
/// <param name="Chunks">The chunks.</param>
internal sealed record ScannedInput(IReadOnlyList<PlannedFile> Files, IReadOnlyList<FileStamp> Stamps, IReadOnlyList<Chunk> Chunks);

/// <summary>Reads all inputs once, to cut them into chunks and to hash them.</summary>
/// <param name="files">The input files.</param>
/// <param name="columns">The columns that the job reads.</param>
/// <param name="chunkTokens">The least tokens of a chunk.</param>
/// <param name="maxTokens">The largest number of tokens of a text.</param>
/// <param name="copy">Returns a stream that copies the content of a compressed input; <see langword="null"/> for no copies.</param>
internal sealed class PlanScan(IReadOnlyList<InputFile> files, InputColumns columns, int chunkTokens, int maxTokens, Func<Stream, CopyingStream>? copy = null)
{
    private const int RowsPerReport = 4096;

    /// <summary>Gets the input files.</summary>
    public IReadOnlyList<InputFile> Files => files;

    /// <param name="report">Receives the number of rows that were read so far.</param>
    /// <param name="cancellationToken">A token that stops the pass.</param>
    /// <exception cref="StellaBulkException">A file cannot be read, or changes meanwhile.</exception>
    public ScannedInput Run(Action<long> report, CancellationToken cancellationToken)
    {
        var cutter = new ChunkCutter(chunkTokens);
        var planned = new List<PlannedFile>();
        var stamps = new List<FileStamp>();
        for (int i = 0; i < files.Count; i++)
        {
            InputFile file = files[i];
            FileStamp stamp = file.ReadStamp();
            long before = cutter.RowCount;
            int index = i;
            (long length, string hash) = file.Guarded(() => Scan(file, index));
            if (length != stamp.Length || file.ReadStamp() != stamp)
            {
                throw InputCheck.Changed(file, "while it was read");
            }

            planned.Add(new PlannedFile(file.Name, length, hash, cutter.RowCount - before));
            stamps.Add(stamp);
        }

        return new ScannedInput(planned, stamps, cutter.Finish());

        (long Length, string Hash) Scan(InputFile file, int index)
        {
            if (file.Format.Access == InputAccess.Random)
            {
                (long, string) hashed = file.Hash(cancellationToken);
                using RowReader rows = file.Format.Open(file.Name, file.OpenRead(), columns, default);
                Cut(rows, index);
                return hashed;
            }

            var packed = new HashingStream(file.OpenRead());
            Stream content = CompressedContent.Unpack(file.Name, packed);
            CopyingStream? copied = content == packed ? null : copy?.Invoke(content);
            using RowReader reader = file.Format.Open(file.Name, copied ?? content, columns, default);
            Cut(reader, index);
            string hash = packed.Finish(cancellationToken);
            copied?.Keep(hash);
            return (packed.Count, hash);
        }

        void Cut(RowReader reader, int index)
        {
            for (RowPosition position = reader.Position; reader.Read(out InputRow row); position = reader.Position)
            {
                cutter.Add(index, position, row, TokenEstimate.Of(row, maxTokens));
                if (cutter.RowCount % RowsPerReport == 0)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    report(cutter.RowCount);
                }
            }
        }
    }
}
