using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;
using ZstdSharp;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Appends the values of one row as the encoding <c>PLAIN</c> has them, except that a boolean is one byte.</summary>
/// <param name="row">The index of the row in its row group.</param>
/// <param name="page">The values of the rows before it on the page.</param>
internal delegate void RowAppender(int row, ArrayBufferWriter<byte> page);

/// <summary>Writes the pages of a column of a row group to a stream. Its buffers are those of one page.</summary>
internal sealed class PageWriter : IDisposable
{
    /// <summary>A page ends with the first row that makes it this long or longer.</summary>
    private const int PageBytes = 1 << 20;

    /// <summary>A higher level takes more time and makes random digits no smaller: see docs/decisions/bulk.md.</summary>
    private const int CompressionLevel = 1;

    private readonly Stream output;
    private readonly Compressor compressor = new(CompressionLevel);
    private readonly CompactWriter header = new();
    private readonly ArrayBufferWriter<byte> values = new(PageBytes);
    private readonly ArrayBufferWriter<byte> runs = new();
    private readonly ArrayBufferWriter<byte> page = new(PageBytes);
    private byte[] compressed = [];

    public PageWriter(Stream output) => this.output = output;

    /// <summary>Writes all values of a column of a row group.</summary>
    /// <returns>The sums over the pages and their headers.</returns>
    public ColumnChunk Write(ParquetColumn column, int rows, RowAppender append)
    {
        var chunk = new ColumnChunk(column, output.Position, (long)rows * column.ValuesPerRow);
        int first = 0;
        for (int row = 0; row < rows; row++)
        {
            append(row, values);
            if (values.WrittenCount >= PageBytes || row == rows - 1)
            {
                WritePage(chunk, row + 1 - first);
                first = row + 1;
            }
        }

        return chunk;
    }

    public void Dispose() => compressor.Dispose();

    private void WritePage(ColumnChunk chunk, int rows)
    {
        page.ResetWrittenCount();
        WriteLevels(chunk.Column, rows);
        Encode(chunk.Column);
        values.ResetWrittenCount();

        int bound = Compressor.GetCompressBound(page.WrittenCount);
        if (compressed.Length < bound)
        {
            compressed = new byte[bound];
        }

        int length = compressor.Wrap(page.WrittenSpan, compressed);
        ReadOnlySpan<byte> content = compressed.AsSpan(0, length);
        WriteHeader(chunk.Column, rows, content);
        output.Write(header.Written);
        output.Write(content);
        chunk.UncompressedBytes += header.Written.Length + page.WrittenCount;
        chunk.CompressedBytes += header.Written.Length + length;
    }

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

    private void Encode(ParquetColumn column)
    {
        ReadOnlySpan<byte> plain = values.WrittenSpan;
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
