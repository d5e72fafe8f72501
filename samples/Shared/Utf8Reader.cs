using System.Buffers;
using System.Text.Unicode;

namespace StellaInterop.Samples;

/// <summary>Reads UTF-8 text, and refuses everything else by name: other encodings, binary files, invalid bytes.</summary>
/// <remarks>
/// <see cref="StreamReader"/> puts U+FFFD in the place of bytes that it does not understand, and reads UTF-16 as noise if a mark
/// is missing. Vectors of such texts mean nothing, and nobody notices. The memory is the same for a file of any length.
/// </remarks>
/// <param name="stream">The bytes. They are not disposed with the reader.</param>
/// <param name="name">The name for messages.</param>
internal sealed class Utf8Reader(Stream stream, string name) : TextReader
{
    /// <summary>Bytes at the beginning in which a zero byte tells that a file is not text; the number that git uses.</summary>
    private const int ProbeBytes = 8000;

    private readonly byte[] bytes = new byte[64 << 10];
    private readonly char[] chars = new char[16 << 10];
    private int byteStart;
    private int byteEnd;
    private int charStart;
    private int charEnd;

    /// <summary>Offset in the stream of the first byte that is not decoded.</summary>
    private long offset;
    private bool begun;
    private bool ended;

    /// <inheritdoc/>
    public override int Peek() => HasChars() ? chars[charStart] : -1;

    /// <inheritdoc/>
    public override int Read() => HasChars() ? chars[charStart++] : -1;

    /// <inheritdoc/>
    public override int Read(char[] buffer, int index, int count)
    {
        ArgumentNullException.ThrowIfNull(buffer);
        return Read(buffer.AsSpan(index, count));
    }

    /// <inheritdoc/>
    public override int Read(Span<char> buffer)
    {
        if (!HasChars())
        {
            return 0;
        }

        int length = Math.Min(buffer.Length, charEnd - charStart);
        chars.AsSpan(charStart, length).CopyTo(buffer);
        charStart += length;
        return length;
    }

    /// <summary>Decodes more characters if all were read.</summary>
    private bool HasChars()
    {
        while (charStart == charEnd)
        {
            if (ended && byteStart == byteEnd)
            {
                return false;
            }

            Fill();
            OperationStatus status = Utf8.ToUtf16(
                bytes.AsSpan(byteStart..byteEnd), chars, out int read, out int written, replaceInvalidSequences: false, isFinalBlock: ended);
            (charStart, charEnd) = (0, written);
            byteStart += read;
            offset += read;
            if (status == OperationStatus.InvalidData && written == 0)
            {
                throw new TextFileException($"{name} is not valid UTF-8 at byte {offset}. Save it as UTF-8.");
            }
        }

        return true;
    }

    private void Fill()
    {
        if (ended || byteEnd - byteStart > ProbeBytes)
        {
            return;
        }

        bytes.AsSpan(byteStart..byteEnd).CopyTo(bytes);
        (byteEnd, byteStart) = (byteEnd - byteStart, 0);

        // A pipe returns the bytes that have arrived. Only the beginning waits for all bytes of the probe.
        int read = begun ? stream.Read(bytes, byteEnd, bytes.Length - byteEnd) : stream.ReadAtLeast(bytes, ProbeBytes, throwOnEndOfStream: false);
        ended = begun ? read == 0 : read < ProbeBytes;
        byteEnd += read;
        if (!begun)
        {
            begun = true;
            Probe(bytes.AsSpan(0, Math.Min(byteEnd, ProbeBytes)));
        }
    }

    private void Probe(ReadOnlySpan<byte> beginning)
    {
        string? encoding =
            beginning.StartsWith((ReadOnlySpan<byte>)[0xff, 0xfe, 0, 0]) || beginning.StartsWith((ReadOnlySpan<byte>)[0, 0, 0xfe, 0xff]) ? "UTF-32"
            : beginning.StartsWith((ReadOnlySpan<byte>)[0xff, 0xfe]) || beginning.StartsWith((ReadOnlySpan<byte>)[0xfe, 0xff]) ? "UTF-16"
            : beginning.Contains((byte)0) && IsUtf16(beginning) ? "UTF-16 without a byte order mark"
            : null;
        if (encoding is not null)
        {
            throw new TextFileException($"{name} is {encoding}. Save it as UTF-8.");
        }

        int zero = beginning.IndexOf((byte)0);
        if (zero >= 0)
        {
            throw new TextFileException($"{name} is a binary file: byte {zero} is zero.");
        }

        if (beginning.StartsWith((ReadOnlySpan<byte>)[0xef, 0xbb, 0xbf]))
        {
            byteStart = 3;
            offset = 3;
        }
    }

    /// <summary>Whether every zero byte is in the same half of a pair of bytes, and those are many, as in UTF-16 with Latin letters.</summary>
    private static bool IsUtf16(ReadOnlySpan<byte> beginning)
    {
        Span<int> zeros = stackalloc int[2];
        for (int i = 0; i < beginning.Length; i++)
        {
            zeros[i & 1] += beginning[i] == 0 ? 1 : 0;
        }

        return Math.Min(zeros[0], zeros[1]) == 0 && Math.Max(zeros[0], zeros[1]) * 4 >= beginning.Length / 2;
    }
}
