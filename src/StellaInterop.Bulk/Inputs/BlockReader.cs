using System.Text;
using ZstdSharp;

namespace StellaInterop.Bulk.Inputs;

/// <summary>
/// Reads a file in blocks and keeps the bytes of the current row together. The memory is bounded by the longest row.
/// </summary>
/// <param name="fileName">The name of the file.</param>
/// <param name="content">The uncompressed content, at its begin.</param>
internal sealed class BlockReader(string fileName, Stream content) : IDisposable
{
    private const int BlockBytes = 256 << 10;

    /// <summary>A buffer that is so many times too large, because of an earlier row, is given up.</summary>
    private const int MaxSlack = 8;

    private byte[] buffer = new byte[2 * BlockBytes];
    private int start;
    private int end;

    /// <summary>Gets the offset of <see cref="Kept"/> in the content.</summary>
    public long Offset { get; private set; }

    /// <summary>Gets the bytes that were read and not given up.</summary>
    public ReadOnlySpan<byte> Kept => buffer.AsSpan(start, end - start);

    /// <summary>Gives up the first bytes of <see cref="Kept"/>.</summary>
    public void Skip(int count)
    {
        start += count;
        Offset += count;
    }

    /// <summary>Appends the next block to <see cref="Kept"/>.</summary>
    /// <returns><see langword="false"/> at the end of the file.</returns>
    /// <exception cref="StellaBulkException">The compressed data of the file are damaged.</exception>
    public bool Fill()
    {
        int kept = end - start;
        if (buffer.Length - end < BlockBytes / 2)
        {
            // The row moves to the front of the buffer, or to a buffer that suits its length.
            int needed = kept + BlockBytes;
            byte[] target = buffer.Length >= needed && buffer.Length <= MaxSlack * needed ? buffer : new byte[2 * needed];
            buffer.AsSpan(start, kept).CopyTo(target);
            (buffer, start, end) = (target, 0, kept);
        }

        try
        {
            int count = content.Read(buffer, end, buffer.Length - end);
            end += count;
            return count > 0;
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException or ZstdException)
        {
            throw InputError.Create(
                fileName, RowTexts.Format($"is truncated or damaged: its compressed data cannot be read after {Offset + kept} bytes of content. Copy or compress it again."), e);
        }
    }

    /// <summary>Skips the byte order mark of UTF-8 at the begin of the file.</summary>
    /// <exception cref="StellaBulkException">The byte order mark is that of UTF-16 or UTF-32.</exception>
    public void SkipByteOrderMark()
    {
        while (Kept.Length < 4 && Fill())
        {
        }

        string? encoding = Kept switch
        {
            [0xFF, 0xFE, 0, 0, ..] or [0, 0, 0xFE, 0xFF, ..] => "UTF-32",
            [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..] => "UTF-16",
            _ => null,
        };
        if (encoding is not null)
        {
            throw InputError.Create(fileName, $"is in {encoding}. Convert it to UTF-8, for example with iconv -f {encoding} -t UTF-8.");
        }

        if (Kept.StartsWith(Encoding.UTF8.Preamble))
        {
            Skip(Encoding.UTF8.Preamble.Length);
        }
    }

    /// <summary>Moves to a place in the content.</summary>
    /// <param name="offset">The offset, not before <see cref="Offset"/>.</param>
    public void MoveTo(long offset)
    {
        if (content.CanSeek)
        {
            content.Position = offset;
            (start, end, Offset) = (0, 0, offset);
            return;
        }

        while (Offset < offset)
        {
            if (Kept.IsEmpty && !Fill())
            {
                throw InputError.Create(fileName, RowTexts.Format($"has only {Offset} bytes of content, and {offset} are needed. It changed since the job was planned."));
            }

            Skip((int)Math.Min(Kept.Length, offset - Offset));
        }
    }

    public void Dispose() => content.Dispose();
}
