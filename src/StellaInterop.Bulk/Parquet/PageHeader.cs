namespace StellaInterop.Bulk.Parquet;

/// <summary>Represents the header of a page.</summary>
internal sealed class PageHeader
{
    /// <summary>Headers have some dozens of bytes, unless they have statistics of long strings. Each size is tried in turn.</summary>
    private static readonly int[] WindowBytes = [1 << 10, 64 << 10, 16 << 20];

    public PageKind Kind { get; private set; }

    /// <summary>Gets the number of bytes of the header itself.</summary>
    public int HeaderBytes { get; private set; }

    /// <summary>Gets the number of bytes of the content after unpacking.</summary>
    public int UnpackedBytes { get; private set; }

    /// <summary>Gets the number of bytes of the content.</summary>
    public int PackedBytes { get; private set; }

    /// <summary>Gets the number of values, nulls included.</summary>
    public int ValueCount { get; private set; }

    public ParquetEncoding Encoding { get; private set; }

    /// <summary>Gets the number of bytes of the definition levels of a page of version 2.</summary>
    public int DefinitionBytes { get; private set; }

    /// <summary>Gets the number of bytes of the repetition levels of a page of version 2.</summary>
    public int RepetitionBytes { get; private set; }

    /// <summary>Gets whether the values are compressed, if the column is.</summary>
    public bool IsCompressed { get; private set; } = true;

    /// <summary>Reads a header.</summary>
    /// <exception cref="InvalidDataException">The header is not valid.</exception>
    public static PageHeader Read(Stream stream, long offset)
    {
        if (offset < 0 || offset >= stream.Length)
        {
            throw new InvalidDataException($"A page is at {offset}, outside the file.");
        }

        for (int i = 0; ; i++)
        {
            byte[] window = new byte[(int)Math.Min(WindowBytes[i], stream.Length - offset)];
            stream.Position = offset;
            stream.ReadExactly(window);
            try
            {
                return Parse(window);
            }
            catch (InvalidDataException) when (window.Length == WindowBytes[i] && i + 1 < WindowBytes.Length)
            {
                // The header may be longer than the window.
            }
        }
    }

    private static PageHeader Parse(ReadOnlySpan<byte> bytes)
    {
        var header = new PageHeader();
        var reader = new CompactReader(bytes);
        int field = 0;
        while (reader.NextField(ref field))
        {
            switch (field)
            {
                case 1:
                    header.Kind = (PageKind)reader.ReadInt32();
                    break;
                case 2:
                    header.UnpackedBytes = reader.ReadInt32();
                    break;
                case 3:
                    header.PackedBytes = reader.ReadInt32();
                    break;
                case 5 or 7:
                    header.ReadData(ref reader, version: 1);
                    break;
                case 8:
                    header.ReadData(ref reader, version: 2);
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        header.HeaderBytes = reader.Position;
        return header;
    }

    /// <summary>Reads the header of a data page, or of a dictionary page, which begins as one of version 1.</summary>
    private void ReadData(ref CompactReader reader, int version)
    {
        reader.ExpectStruct();
        int field = 0;
        while (reader.NextField(ref field))
        {
            switch ((version, field))
            {
                case (_, 1):
                    ValueCount = reader.ReadInt32();
                    break;
                case (1, 2) or (2, 4):
                    Encoding = (ParquetEncoding)reader.ReadInt32();
                    break;
                case (2, 5):
                    DefinitionBytes = reader.ReadInt32();
                    break;
                case (2, 6):
                    RepetitionBytes = reader.ReadInt32();
                    break;
                case (2, 7):
                    IsCompressed = reader.ReadBoolean();
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }
    }
}
