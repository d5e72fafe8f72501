using System.Buffers;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Keeps bytes for later: some in memory, and all before them in a scratch file.</summary>
/// <param name="createScratch">Creates the scratch file, which the caller disposes. It is called once, when it is needed.</param>
internal sealed class Spool(Func<Stream> createScratch)
{
    private const int MaxMemoryBytes = 4 << 20;

    private readonly ArrayBufferWriter<byte> memory = new();
    private Stream? scratch;

    public void Write(ReadOnlySpan<byte> bytes)
    {
        if (memory.WrittenCount > 0 && memory.WrittenCount + bytes.Length > MaxMemoryBytes)
        {
            scratch ??= createScratch();
            scratch.Write(memory.WrittenSpan);
            memory.ResetWrittenCount();
        }

        memory.Write(bytes);
    }

    /// <summary>Writes all bytes to a stream, and forgets them.</summary>
    public void MoveTo(Stream output)
    {
        if (scratch is not null)
        {
            scratch.Position = 0;
            scratch.CopyTo(output);
            scratch.SetLength(0);
        }

        output.Write(memory.WrittenSpan);
        memory.ResetWrittenCount();
    }
}
