using System.Buffers;
using System.Text.Unicode;

namespace StellaInterop.Samples;

/// <summary>Reads UTF-8 text. Other encodings, binary files and invalid bytes are errors that name the input.</summary>
/// <remarks>
/// <see cref="StreamReader"/> silently replaces invalid bytes by U+FFFD, and misreads UTF-16 without a byte order mark. The
/// vectors of such texts are meaningless. The memory does not depend on the length of the file.
/// </remarks>
/// <param name="stream">The stream. The reader does not dispose it.</param>
/// <param name="name">The name of the input for messages.</param>
internal sealed class Utf8Reader(Stream stream, string name) : TextReader
{
    /// <summary>
    /// The number of bytes at the beginning that are searched for a zero byte, as git does to detect binary files.
    /// </summary>
    private const int ProbeBytes = 8000;

    private readonly byte[] bytes = new byte[64 << 10];
    private readonly char[] chars = new char[16 << 10];
    private int byteStart;
    private int byteEnd;
    private int charStart;
    private int charEnd;

    /// <summary>The offset in the stream of the first byte that is not decoded yet.</summary>
    private long offset;
    private bool isProbed;
    private bool isAtEnd;

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

    /// <summary>Returns whether a character is available, and decodes more characters if necessary.</summary>
    private bool HasChars()
    {
        while (charStart == charEnd)
        {
            if (isAtEnd && byteStart == byteEnd)
            {
                return false;
            }

            Fill();
            OperationStatus status = Utf8.ToUtf16(
                bytes.AsSpan(byteStart..byteEnd), chars, out int read, out int written, replaceInvalidSequences: false, isFinalBlock: isAtEnd);
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
        if (isAtEnd || byteEnd - byteStart > ProbeBytes)
        {
            return;
        }

        bytes.AsSpan(byteStart..byteEnd).CopyTo(bytes);
        (byteEnd, byteStart) = (byteEnd - byteStart, 0);

        // A read from a pipe returns only the bytes that have arrived, so the first read waits for all bytes of the probe.
        int read = isProbed ? stream.Read(bytes, byteEnd, bytes.Length - byteEnd) : stream.ReadAtLeast(bytes, ProbeBytes, throwOnEndOfStream: false);
        isAtEnd = isProbed ? read == 0 : read < ProbeBytes;
        byteEnd += read;
        if (!isProbed)
        {
            isProbed = true;
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

    /// <summary>
    /// Returns whether many zero bytes exist, all at even or all at odd offsets, as in UTF-16 with Latin letters.
    /// </summary>
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
