using System.Buffers.Binary;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Reads the values of a column of a row group in order, one page at a time. The memory is that of a page and the dictionary.</summary>
/// <param name="stream">The file. Each read sets its position.</param>
/// <param name="column">The column.</param>
/// <param name="chunk">The column in the row group.</param>
internal sealed class ColumnCursor(Stream stream, FileColumn column, FileChunk chunk)
{
    /// <summary>The largest page that is read. Writers make pages of about 1 MB, or of 100 MB.</summary>
    private const int MaxPageBytes = 1 << 29;

    private long nextPage = chunk.Offset;
    private long unreadValues = chunk.ValueCount;
    private int valuesInPage;
    private ReadOnlyMemory<byte>[]? dictionary;
    private HybridReader? definitions;
    private PageValues? values;

    /// <summary>Reads the next value.</summary>
    /// <param name="value">Receives its bytes, valid until the next call.</param>
    /// <returns><see langword="false"/> for null.</returns>
    /// <exception cref="InvalidDataException">The file is damaged.</exception>
    public bool Read(out ReadOnlySpan<byte> value)
    {
        while (valuesInPage == 0)
        {
            OpenPage(skippable: 0);
        }

        valuesInPage--;
        bool isNull = definitions is not null && definitions.Next() == 0;
        value = isNull ? default : values!.Next();
        return !isNull;
    }

    /// <summary>Skips values, whole pages without unpacking them.</summary>
    public void Skip(long count)
    {
        while (count > 0)
        {
            if (valuesInPage == 0)
            {
                count -= OpenPage(count);
                continue;
            }

            Read(out _);
            count--;
        }
    }

    /// <summary>Opens the next page, or skips it if it has at most so many values.</summary>
    /// <returns>The number of values that were skipped.</returns>
    private int OpenPage(long skippable)
    {
        if (unreadValues <= 0)
        {
            throw new InvalidDataException($"The column '{column.Name}' has fewer values than its row group.");
        }

        PageHeader header = PageHeader.Read(stream, nextPage);
        long content = nextPage + header.HeaderBytes;
        if (header.PackedBytes < 0 || header.PackedBytes > stream.Length - content || header.UnpackedBytes is < 0 or > MaxPageBytes || header.ValueCount < 0)
        {
            throw new InvalidDataException($"The column '{column.Name}' has a page of {header.UnpackedBytes} bytes at {nextPage}, which cannot be read.");
        }

        nextPage = content + header.PackedBytes;
        if (header.Kind is PageKind.Data or PageKind.DataV2)
        {
            unreadValues -= header.ValueCount;
            if (header.ValueCount <= skippable)
            {
                return header.ValueCount;
            }
        }

        switch (header.Kind)
        {
            case PageKind.Dictionary:
                dictionary = ReadDictionary(header, ReadContent(header, content, levelBytes: 0));
                break;
            case PageKind.Data:
                OpenData(header, ReadContent(header, content, levelBytes: 0));
                break;
            case PageKind.DataV2:
                OpenDataV2(header, content);
                break;
            default:
                break;
        }

        return 0;
    }

    private ReadOnlyMemory<byte>[] ReadDictionary(PageHeader header, ReadOnlyMemory<byte> bytes)
    {
        // An entry of a string has at least its length.
        int smallest = column.ValueBytes > 0 ? column.ValueBytes : sizeof(int);
        if (header.ValueCount > bytes.Length / smallest)
        {
            throw new InvalidDataException($"The column '{column.Name}' has a dictionary of {header.ValueCount} values in {bytes.Length} bytes.");
        }

        var entries = new ReadOnlyMemory<byte>[header.ValueCount];
        int position = 0;
        for (int i = 0; i < entries.Length; i++)
        {
            int length = column.ValueBytes;
            if (length == 0)
            {
                length = BinaryPrimitives.ReadInt32LittleEndian(bytes.Span[position..]);
                position += sizeof(int);
            }

            entries[i] = bytes.Slice(position, length);
            position += length;
        }

        return entries;
    }

    /// <summary>Opens a page whose definition levels are preceded by their length.</summary>
    private void OpenData(PageHeader header, ReadOnlyMemory<byte> bytes)
    {
        definitions = null;
        if (column.IsOptional)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(bytes.Span);
            definitions = new HybridReader(bytes.Slice(sizeof(int), length), bitWidth: 1);
            bytes = bytes[(sizeof(int) + length)..];
        }

        OpenValues(header, bytes);
    }

    /// <summary>Opens a page of version 2: the levels are not compressed, and the header has their length.</summary>
    private void OpenDataV2(PageHeader header, long content)
    {
        int levels = checked(header.RepetitionBytes + header.DefinitionBytes);
        ReadOnlyMemory<byte> bytes = ReadContent(header, content, levels);
        definitions = column.IsOptional ? new HybridReader(bytes.Slice(header.RepetitionBytes, header.DefinitionBytes), bitWidth: 1) : null;
        OpenValues(header, bytes[levels..]);
    }

    private void OpenValues(PageHeader header, ReadOnlyMemory<byte> bytes)
    {
        values = PageValues.Create(header.Encoding, bytes, header.ValueCount, column.ValueBytes, dictionary);
        valuesInPage = header.ValueCount;
    }

    /// <summary>Returns the content of a page, which begins with bytes that are not compressed.</summary>
    private byte[] ReadContent(PageHeader header, long offset, int levelBytes)
    {
        byte[] packed = new byte[header.PackedBytes];
        stream.Position = offset;
        stream.ReadExactly(packed);
        if (!header.IsCompressed || chunk.Codec == ParquetCodec.Uncompressed)
        {
            return packed;
        }

        // The values of a page may all be null.
        if (packed.Length == levelBytes)
        {
            return packed;
        }

        byte[] bytes = new byte[header.UnpackedBytes];
        packed.AsSpan(0, levelBytes).CopyTo(bytes);
        PageCompression.Unpack(chunk.Codec, packed.AsSpan(levelBytes), bytes.AsSpan(levelBytes));
        return bytes;
    }
}
