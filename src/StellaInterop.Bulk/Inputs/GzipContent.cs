using System.IO.Compression;
using StellaInterop.Bulk.Files;

namespace StellaInterop.Bulk.Inputs;

/// <summary>
/// Unpacks gzip, and fails if the file is cut. GZipStream takes a file that is cut for a complete one, unless a switch of the whole process
/// forbids it. So a compressed mark follows the file: it comes out of GZipStream only after a complete file.
/// </summary>
internal sealed class GzipContent : ReadOnlyStream
{
    /// <summary>The header and the trailer of a file.</summary>
    private const int LeastBytes = 18;

    private static readonly byte[] Mark = "end of the file."u8.ToArray();

    private readonly byte[] held = new byte[Mark.Length];
    private int heldBytes;

    /// <param name="content">The file, which this stream disposes.</param>
    public GzipContent(Stream content)
        : base(new GZipStream(new WholeStream(content, LeastBytes, Pack(Mark)), CompressionMode.Decompress))
    {
    }

    /// <param name="buffer">The destination, longer than the mark.</param>
    /// <exception cref="InvalidDataException">The file is damaged or cut.</exception>
    public override int Read(Span<byte> buffer)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(buffer.Length, Mark.Length, nameof(buffer));
        while (true)
        {
            // The last bytes are held back, because they may be the mark.
            held.AsSpan(0, heldBytes).CopyTo(buffer);
            int count = Inner.Read(buffer[heldBytes..]);
            if (count == 0)
            {
                return held.AsSpan(0, heldBytes).SequenceEqual(Mark) ? 0 : throw new InvalidDataException("The file is cut.");
            }

            int total = heldBytes + count;
            heldBytes = Math.Min(total, held.Length);
            buffer[(total - heldBytes)..total].CopyTo(held);
            if (total > heldBytes)
            {
                return total - heldBytes;
            }
        }
    }

    private static byte[] Pack(byte[] content)
    {
        using var packed = new MemoryStream();
        using (var stream = new GZipStream(packed, CompressionMode.Compress))
        {
            stream.Write(content);
        }

        return packed.ToArray();
    }
}
