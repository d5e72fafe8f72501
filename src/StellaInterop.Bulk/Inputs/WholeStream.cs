using StellaInterop.Bulk.Files;

namespace StellaInterop.Bulk.Inputs;

/// <summary>
/// Passes on the bytes of a compressed file and then a mark. Fails at its end if the file is shorter than an empty file that was compressed,
/// because the decompressors take some of such files for empty ones.
/// </summary>
/// <param name="content">The file, which this stream disposes.</param>
/// <param name="leastBytes">The length of an empty file that was compressed.</param>
/// <param name="mark">The bytes after those of the file.</param>
internal sealed class WholeStream(Stream content, int leastBytes, byte[] mark) : ReadOnlyStream(content)
{
    private long total;
    private int markBytes;

    public override int Read(Span<byte> buffer)
    {
        int count = Inner.Read(buffer);
        total += count;
        if (count > 0 || buffer.IsEmpty)
        {
            return count;
        }

        if (total < leastBytes)
        {
            throw new EndOfStreamException();
        }

        count = Math.Min(buffer.Length, mark.Length - markBytes);
        mark.AsSpan(markBytes, count).CopyTo(buffer);
        markBytes += count;
        return count;
    }
}
