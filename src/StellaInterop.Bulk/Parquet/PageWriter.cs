using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;
using ZstdSharp;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Makes the pages of all columns. Its buffers are those of one page.</summary>
internal sealed class PageWriter : IDisposable
{
    /// <summary>A higher level takes more time and makes random digits no smaller: see docs/decisions/bulk.md.</summary>
    private const int CompressionLevel = 1;

    /// <summary>A header has ten numbers of at most five bytes, and a byte for each field.</summary>
    private const int MaxHeaderBytes = 128;

    private readonly Compressor compressor = new(CompressionLevel);
    private readonly CompactWriter header = new();
    private readonly ArrayBufferWriter<byte> runs = new();
    private readonly ArrayBufferWriter<byte> page = new();
    private byte[] written = [];

    /// <summary>Makes a page.</summary>
    /// <param name="column">The column.</param>
    /// <param name="rows">The number of rows.</param>
    /// <param name="values">Their values.</param>
    /// <param name="uncompressedBytes">Receives the number of bytes of the header, and of the content before compression.</param>
    /// <returns>The header and the compressed content, valid until the next call.</returns>
    public ReadOnlySpan<byte> Write(ParquetColumn column, int rows, ReadOnlySpan<byte> values, out int uncompressedBytes)
    {
        page.ResetWrittenCount();
        WriteLevels(column, rows);
        Encode(column, values);

        int bound = MaxHeaderBytes + Compressor.GetCompressBound(page.WrittenCount);
        if (written.Length < bound)
        {
            written = new byte[bound];
        }

        // The header has the length and the checksum of the content, so it is made after the content and put before it.
        Span<byte> content = written.AsSpan(MaxHeaderBytes);
        content = content[..compressor.Wrap(page.WrittenSpan, content)];
        WriteHeader(column, rows, content);
        int start = MaxHeaderBytes - header.Written.Length;
        header.Written.CopyTo(written.AsSpan(start));
        uncompressedBytes = header.Written.Length + page.WrittenCount;
        return written.AsSpan(start, header.Written.Length + content.Length);
    }

    public void Dispose() => compressor.Dispose();

    private void WriteHeader(ParquetColumn column, int rows, ReadOnlySpan<byte> content)
    {
        header.Clear();
        header.WriteInt32(1, (int)PageKind.Data);
        header.WriteInt32(2, page.WrittenCount);
        header.WriteInt32(3, content.Length);
        header.WriteInt32(4, (int)Crc32.HashToUInt32(content));
        header.WriteStruct(5, () =>
        {
            header.WriteInt32(1, rows * column.ValuesPerRow);
            header.WriteInt32(2, (int)column.Encoding);
            header.WriteInt32(3, (int)ParquetEncoding.Rle);
            header.WriteInt32(4, (int)ParquetEncoding.Rle);
        });
        header.WriteStop();
    }

    /// <summary>Writes the repetition levels (0 begins a list, 1 continues it) and the definition levels (always 1) of a list.</summary>
    private void WriteLevels(ParquetColumn column, int rows)
    {
        if (column.ListLength == 0)
        {
            return;
        }

        for (int row = 0; row < rows; row++)
        {
            AddRun(1, 0);
            AddRun(column.ListLength - 1, 1);
        }

        FlushRuns();
        AddRun(rows * column.ListLength, 1);
        FlushRuns();
    }

    /// <summary>Adds a run of equal levels of one bit. The lowest bit of its length is 0, which tells it from packed bits.</summary>
    private void AddRun(int count, byte level)
    {
        if (count == 0)
        {
            return;
        }

        uint rest = (uint)count << 1;
        for (; rest >= 0x80; rest >>= 7)
        {
            runs.Write([(byte)(rest | 0x80)]);
        }

        runs.Write([(byte)rest, level]);
    }

    private void FlushRuns()
    {
        BinaryPrimitives.WriteInt32LittleEndian(page.GetSpan(sizeof(int)), runs.WrittenCount);
        page.Advance(sizeof(int));
        page.Write(runs.WrittenSpan);
        runs.ResetWrittenCount();
    }

    private void Encode(ParquetColumn column, ReadOnlySpan<byte> plain)
    {
        if (column.Type == ParquetType.Boolean)
        {
            Span<byte> bits = page.GetSpan((plain.Length + 7) / 8)[..((plain.Length + 7) / 8)];
            bits.Clear();
            for (int i = 0; i < plain.Length; i++)
            {
                bits[i / 8] |= (byte)(plain[i] << (i % 8));
            }

            page.Advance(bits.Length);
        }
        else if (column.Encoding == ParquetEncoding.ByteStreamSplit)
        {
            ByteStreams.Split(plain, page.GetSpan(plain.Length)[..plain.Length], column.ValueBytes);
            page.Advance(plain.Length);
        }
        else
        {
            page.Write(plain);
        }
    }
}
