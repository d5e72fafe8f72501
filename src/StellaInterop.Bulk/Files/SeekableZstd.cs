using System.Buffers;
using System.Buffers.Binary;
using ZstdSharp;

namespace StellaInterop.Bulk.Files;

/// <summary>
/// The numbers of the seekable format of zstd: frames of the same length of content, and at the end a skippable frame with the length of each.
/// Any reader of zstd reads such a file.
/// </summary>
internal static class SeekableZstd
{
    /// <summary>The content of a frame. A place is reached by unpacking one frame.</summary>
    public const int FrameBytes = 1 << 20;

    /// <summary>The magic and the length of the skippable frame.</summary>
    public const int HeaderBytes = 8;

    /// <summary>The packed and the unpacked length of a frame.</summary>
    public const int EntryBytes = 8;

    /// <summary>The number of frames, the descriptor and the magic of the table.</summary>
    public const int FooterBytes = 9;

    public const uint SkippableMagic = 0x184D2A5E;
    public const uint TableMagic = 0x8F92EAB1;

    /// <summary>The largest packed length of a frame.</summary>
    public static int MaxPackedBytes { get; } = Compressor.GetCompressBound(FrameBytes);
}

/// <summary>Writes a seekable zstd file. Not thread-safe.</summary>
/// <param name="open">Opens the file, at its begin, for the first frame. Later calls return the same stream.</param>
internal sealed class SeekableZstdWriter(Func<Stream> open) : IDisposable
{
    private readonly Compressor compressor = CreateCompressor();
    // A job may have many small inputs, each with a writer.
    private readonly byte[] frame = ArrayPool<byte>.Shared.Rent(SeekableZstd.FrameBytes);
    private readonly byte[] packed = ArrayPool<byte>.Shared.Rent(SeekableZstd.MaxPackedBytes);
    private readonly List<(int Packed, int Unpacked)> frames = [];
    private int filled;
    private bool isDisposed;

    /// <summary>Appends content.</summary>
    public void Write(ReadOnlySpan<byte> content)
    {
        while (!content.IsEmpty)
        {
            int count = Math.Min(content.Length, SeekableZstd.FrameBytes - filled);
            content[..count].CopyTo(frame.AsSpan(filled));
            content = content[count..];
            filled += count;
            if (filled == SeekableZstd.FrameBytes)
            {
                WriteFrame();
            }
        }
    }

    /// <summary>Writes the last frame and the table.</summary>
    public void Complete()
    {
        if (filled > 0)
        {
            WriteFrame();
        }

        int tableBytes = (SeekableZstd.EntryBytes * frames.Count) + SeekableZstd.FooterBytes;
        byte[] table = new byte[SeekableZstd.HeaderBytes + tableBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(table, SeekableZstd.SkippableMagic);
        BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan(4), tableBytes);
        Span<byte> rest = table.AsSpan(SeekableZstd.HeaderBytes);
        foreach ((int packedBytes, int unpackedBytes) in frames)
        {
            BinaryPrimitives.WriteInt32LittleEndian(rest, packedBytes);
            BinaryPrimitives.WriteInt32LittleEndian(rest[4..], unpackedBytes);
            rest = rest[SeekableZstd.EntryBytes..];
        }

        // The descriptor between the two numbers is 0: the table has no checksums, because the frames have them.
        BinaryPrimitives.WriteInt32LittleEndian(rest, frames.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(rest[5..], SeekableZstd.TableMagic);
        open().Write(table);
    }

    public void Dispose()
    {
        if (!isDisposed)
        {
            isDisposed = true;
            compressor.Dispose();
            ArrayPool<byte>.Shared.Return(frame);
            ArrayPool<byte>.Shared.Return(packed);
        }
    }

    private static Compressor CreateCompressor()
    {
        var compressor = new Compressor(level: 1);
        compressor.SetParameter(ZstdSharp.Unsafe.ZSTD_cParameter.ZSTD_c_checksumFlag, 1);
        return compressor;
    }

    private void WriteFrame()
    {
        int length = compressor.Wrap(frame.AsSpan(0, filled), packed);
        open().Write(packed, 0, length);
        frames.Add((length, filled));
        filled = 0;
    }
}

/// <summary>The content of a seekable zstd file of <see cref="SeekableZstdWriter"/>. Not thread-safe.</summary>
internal sealed class SeekableZstdContent : Stream
{
    private readonly Stream file;
    private readonly Decompressor decompressor = new();
    private readonly byte[] frame = new byte[SeekableZstd.FrameBytes];
    private readonly byte[] packed = new byte[SeekableZstd.MaxPackedBytes];
    private readonly Func<Exception?, Exception> damaged;

    /// <summary>The place of each frame in the file, and of the table after them.</summary>
    private readonly long[] places;
    private int current = -1;
    private int currentBytes;

    /// <param name="file">The file, which this stream disposes unless this constructor throws.</param>
    /// <param name="damaged">Creates the error of a frame that cannot be unpacked.</param>
    /// <exception cref="InvalidDataException">The file has no valid table.</exception>
    public SeekableZstdContent(Stream file, Func<Exception?, Exception> damaged)
    {
        this.file = file;
        this.damaged = damaged;
        (places, Length) = ReadTable(file);
    }

    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length { get; }

    public override long Position { get; set; }

    public override int Read(Span<byte> buffer)
    {
        if (Position >= Length || buffer.IsEmpty)
        {
            return 0;
        }

        int index = (int)(Position / SeekableZstd.FrameBytes);
        if (index != current)
        {
            Load(index);
        }

        int offset = (int)(Position % SeekableZstd.FrameBytes);
        int count = Math.Min(buffer.Length, currentBytes - offset);
        frame.AsSpan(offset, count).CopyTo(buffer);
        Position += count;
        return count;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void Flush() => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            decompressor.Dispose();
            file.Dispose();
        }

        base.Dispose(disposing);
    }

    private static (long[] Places, long Length) ReadTable(Stream file)
    {
        Span<byte> footer = stackalloc byte[SeekableZstd.FooterBytes];
        if (file.Length < SeekableZstd.HeaderBytes + SeekableZstd.FooterBytes)
        {
            throw new InvalidDataException("The file is too short for a table.");
        }

        file.Position = file.Length - footer.Length;
        file.ReadExactly(footer);
        int count = BinaryPrimitives.ReadInt32LittleEndian(footer);
        long tableBytes = SeekableZstd.HeaderBytes + ((long)SeekableZstd.EntryBytes * count) + footer.Length;
        if (BinaryPrimitives.ReadUInt32LittleEndian(footer[5..]) != SeekableZstd.TableMagic || count < 0 || tableBytes > file.Length)
        {
            throw new InvalidDataException("The file has no table.");
        }

        file.Position = file.Length - tableBytes + SeekableZstd.HeaderBytes;
        byte[] entries = new byte[SeekableZstd.EntryBytes * count];
        file.ReadExactly(entries);
        long[] places = new long[count + 1];
        long length = 0;
        for (int i = 0; i < count; i++)
        {
            places[i + 1] = places[i] + BinaryPrimitives.ReadUInt32LittleEndian(entries.AsSpan(SeekableZstd.EntryBytes * i));
            length += BinaryPrimitives.ReadUInt32LittleEndian(entries.AsSpan((SeekableZstd.EntryBytes * i) + 4));
        }

        bool isWhole = places[count] + tableBytes == file.Length && (length + SeekableZstd.FrameBytes - 1) / SeekableZstd.FrameBytes == count;
        return isWhole ? (places, length) : throw new InvalidDataException("The table does not match the file.");
    }

    private void Load(int index)
    {
        current = -1;
        long packedBytes = places[index + 1] - places[index];
        if (packedBytes > packed.Length)
        {
            throw damaged(null);
        }

        file.Position = places[index];
        file.ReadExactly(packed, 0, (int)packedBytes);
        try
        {
            currentBytes = decompressor.Unwrap(packed.AsSpan(0, (int)packedBytes), frame);
        }
        catch (ZstdException e)
        {
            throw damaged(e);
        }

        long expected = Math.Min(SeekableZstd.FrameBytes, Length - ((long)index * SeekableZstd.FrameBytes));
        current = currentBytes == expected ? index : throw damaged(null);
    }
}
