namespace StellaInterop.Bulk.Parquet;

/// <summary>Specifies how the values of a column are read.</summary>
internal enum ColumnKind
{
    /// <summary>A type that is neither a text nor an id, or a list or a structure.</summary>
    Other,

    /// <summary>Strings in UTF-8.</summary>
    Text,

    /// <summary>Signed integers of 32 or 64 bits.</summary>
    SignedInteger,

    /// <summary>Unsigned integers of 32 or 64 bits.</summary>
    UnsignedInteger,

    /// <summary>UUIDs of 16 bytes.</summary>
    Uuid,
}

/// <summary>Represents a column at the root of the schema of a file.</summary>
/// <param name="Name">The name.</param>
/// <param name="Kind">How its values are read.</param>
/// <param name="TypeName">The type in the words of the format, for messages.</param>
/// <param name="ValueBytes">The number of bytes of a value; 0 if it varies.</param>
/// <param name="IsOptional">Whether a value may be null.</param>
internal sealed record FileColumn(string Name, ColumnKind Kind, string TypeName, int ValueBytes, bool IsOptional);

/// <summary>Represents a column in a row group of a file.</summary>
/// <param name="Codec">The compression of its pages.</param>
/// <param name="Offset">The offset of its first page, which is the dictionary if there is one.</param>
/// <param name="ValueCount">The number of its values, nulls included.</param>
internal sealed record FileChunk(ParquetCodec Codec, long Offset, long ValueCount);

/// <summary>Represents a row group of a file.</summary>
/// <param name="RowCount">The number of rows.</param>
/// <param name="Chunks">Its columns at the root of the schema by their names, as far as they were asked for.</param>
internal sealed record FileRowGroup(long RowCount, IReadOnlyDictionary<string, FileChunk> Chunks);

/// <summary>Reads the metadata at the end of a file.</summary>
internal sealed class ParquetMetadata
{
    private const int MaxSchemaDepth = 200;

    private ParquetMetadata(IReadOnlyList<FileColumn> columns, IReadOnlyList<FileRowGroup> rowGroups)
    {
        Columns = columns;
        RowGroups = rowGroups;
    }

    /// <summary>Gets the columns at the root of the schema.</summary>
    public IReadOnlyList<FileColumn> Columns { get; }

    public IReadOnlyList<FileRowGroup> RowGroups { get; }

    /// <param name="bytes">The structure <c>FileMetaData</c>.</param>
    /// <param name="wanted">The names of the columns whose chunks are needed.</param>
    /// <exception cref="InvalidDataException">The bytes are not valid.</exception>
    public static ParquetMetadata Parse(ReadOnlySpan<byte> bytes, IReadOnlyCollection<string> wanted)
    {
        var reader = new CompactReader(bytes);
        var elements = new List<SchemaElement>();
        var rowGroups = new List<FileRowGroup>();
        int field = 0;
        while (reader.NextField(ref field))
        {
            switch (field)
            {
                case 2:
                    for (int count = reader.ReadListHeader(CompactType.Struct); count > 0; count--)
                    {
                        elements.Add(SchemaElement.Read(ref reader));
                    }

                    break;
                case 4:
                    for (int count = reader.ReadListHeader(CompactType.Struct); count > 0; count--)
                    {
                        rowGroups.Add(ReadRowGroup(ref reader, wanted));
                    }

                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        return new ParquetMetadata(RootColumns(elements), rowGroups);
    }

    private static List<FileColumn> RootColumns(List<SchemaElement> elements)
    {
        var columns = new List<FileColumn>();
        int next = 1;
        while (next < elements.Count)
        {
            columns.Add(elements[next].ToColumn());
            next = After(next, depth: 0);
        }

        return columns;

        int After(int index, int depth)
        {
            if (index >= elements.Count || depth > MaxSchemaDepth)
            {
                throw new InvalidDataException("The schema of the Parquet file is damaged.");
            }

            int after = index + 1;
            for (int child = 0; child < elements[index].ChildCount; child++)
            {
                after = After(after, depth + 1);
            }

            return after;
        }
    }

    private static FileRowGroup ReadRowGroup(ref CompactReader reader, IReadOnlyCollection<string> wanted)
    {
        var chunks = new Dictionary<string, FileChunk>();
        long rows = 0;
        int field = 0;
        while (reader.NextField(ref field))
        {
            switch (field)
            {
                case 1:
                    for (int count = reader.ReadListHeader(CompactType.Struct); count > 0; count--)
                    {
                        ReadChunk(ref reader, wanted, chunks);
                    }

                    break;
                case 3:
                    rows = reader.ReadInt64();
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        return new FileRowGroup(rows, chunks);
    }

    private static void ReadChunk(ref CompactReader reader, IReadOnlyCollection<string> wanted, Dictionary<string, FileChunk> chunks)
    {
        int field = 0;
        while (reader.NextField(ref field))
        {
            if (field == 3)
            {
                ReadChunkMetadata(ref reader, wanted, chunks);
            }
            else
            {
                reader.Skip();
            }
        }
    }

    private static void ReadChunkMetadata(ref CompactReader reader, IReadOnlyCollection<string> wanted, Dictionary<string, FileChunk> chunks)
    {
        string? root = null;
        int depth = 0;
        var codec = ParquetCodec.Uncompressed;
        long values = 0, data = 0, dictionary = 0;
        reader.ExpectStruct();
        int field = 0;
        while (reader.NextField(ref field))
        {
            switch (field)
            {
                case 3:
                    depth = reader.ReadListHeader(CompactType.Binary);
                    for (int i = 0; i < depth; i++)
                    {
                        string name = reader.ReadString();
                        root ??= name;
                    }

                    break;
                case 4:
                    codec = (ParquetCodec)reader.ReadInt32();
                    break;
                case 5:
                    values = reader.ReadInt64();
                    break;
                case 9:
                    data = reader.ReadInt64();
                    break;
                case 11:
                    dictionary = reader.ReadInt64();
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        if (depth == 1 && wanted.Contains(root!))
        {
            // Some writers give an offset of 0 for a dictionary that does not exist.
            chunks[root!] = new FileChunk(codec, dictionary > 0 ? Math.Min(dictionary, data) : data, values);
        }
    }
}
