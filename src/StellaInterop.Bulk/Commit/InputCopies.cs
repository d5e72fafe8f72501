using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Commit;

/// <summary>Keeps copies of compressed inputs in the output folder until the output is complete.</summary>
/// <remarks>
/// A file in gzip or zstd has no place to start at but its begin, so a run that continues would unpack all that it has done before. A copy has
/// such a place each MB. It is small beside the vectors: 500 bytes of text are about 150 bytes of the copy, and 4,096 of a vector. A job works
/// without its copies too.
/// </remarks>
/// <param name="folder">The output folder.</param>
internal sealed class InputCopies(IOutputFolder folder)
{
    /// <summary>A content that is shorter is unpacked in a tenth of a second.</summary>
    private const long LeastBytes = 16 << 20;

    /// <summary>Returns a stream that copies what is read from a content. A disk that refuses the copy ends only the copy.</summary>
    /// <param name="content">The uncompressed content, which the stream disposes.</param>
    public CopyingStream Begin(Stream content) => new CopyInHand(content, folder);

    /// <summary>Opens the copy of a file.</summary>
    /// <returns>The uncompressed content, which can seek; <see langword="null"/> if there is no usable copy.</returns>
    public Stream? TryOpen(PlannedFile file)
    {
        string name = OutputNames.CopyOf(file.Sha256);
        Stream? copy = null;
        try
        {
            if (!folder.Exists(name))
            {
                return null;
            }

            copy = folder.OpenRead(name);
            return new SeekableZstdContent(copy, e => new StellaBulkException(
                StellaBulkErrorCode.OutputDamaged,
                $"The file '{name}' in the output folder '{folder.Path}' is damaged. It is a copy of the input '{file.Name}': delete it, and run the job again.",
                e));
        }
        catch (Exception e) when (IsRefusal(e) || e is InvalidDataException)
        {
            copy?.Dispose();
            return null;
        }
    }

    /// <summary>Deletes all copies. Another process that still reads one may keep it.</summary>
    public void Delete()
    {
        foreach (string name in folder.List(OutputNames.InputsFolder))
        {
            try
            {
                folder.Delete($"{OutputNames.InputsFolder}/{name}");
            }
            catch (Exception e) when (IsRefusal(e))
            {
                // The next run of the command deletes it.
            }
        }
    }

    private static bool IsRefusal(Exception error) => error is IOException or UnauthorizedAccessException;

    private sealed class CopyInHand : CopyingStream
    {
        private readonly IOutputFolder folder;
        private readonly SeekableZstdWriter writer;
        private ITemporaryFile? file;
        private long count;
        private bool isGivenUp;
        private bool isAtEnd;

        public CopyInHand(Stream content, IOutputFolder folder)
            : base(content)
        {
            this.folder = folder;
            writer = new SeekableZstdWriter(() => (file ??= folder.CreateTemporary()).Content);
        }

        public override int Read(Span<byte> buffer)
        {
            int read = Inner.Read(buffer);
            count += read;
            isAtEnd |= read == 0 && !buffer.IsEmpty;
            try
            {
                if (!isGivenUp)
                {
                    writer.Write(buffer[..read]);
                }
            }
            catch (Exception e) when (IsRefusal(e))
            {
                isGivenUp = true;
            }

            return read;
        }

        public override void Keep(string sha256)
        {
            if (isGivenUp || !isAtEnd || count < LeastBytes)
            {
                return;
            }

            try
            {
                writer.Complete();
                file!.Flush();
                // A copy of the same file may be there already.
                _ = folder.TryPublish(file, OutputNames.CopyOf(sha256));
                folder.FlushFolder(OutputNames.InputsFolder);
            }
            catch (Exception e) when (IsRefusal(e))
            {
                // The part that is written next tells the user of it.
            }
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                writer.Dispose();
                file?.Dispose();
            }

            base.Dispose(disposing);
        }
    }
}
