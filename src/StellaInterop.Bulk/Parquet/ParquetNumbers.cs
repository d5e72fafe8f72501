namespace StellaInterop.Bulk.Parquet;

/// <summary>Specifies the type of the values of a column. The numbers are those of the format.</summary>
internal enum ParquetType
{
    Boolean = 0,
    Int32 = 1,
    Int64 = 2,
    Int96 = 3,
    Float = 4,
    Double = 5,
    ByteArray = 6,
    FixedLengthByteArray = 7,
}

/// <summary>Specifies the encoding of a page. The numbers are those of the format.</summary>
internal enum ParquetEncoding
{
    Plain = 0,
    PlainDictionary = 2,
    Rle = 3,
    BitPacked = 4,
    DeltaBinaryPacked = 5,
    DeltaLengthByteArray = 6,
    DeltaByteArray = 7,
    RleDictionary = 8,
    ByteStreamSplit = 9,
}

/// <summary>Specifies the compression of a column. The numbers are those of the format.</summary>
internal enum ParquetCodec
{
    Uncompressed = 0,
    Snappy = 1,
    Gzip = 2,
    Lzo = 3,
    Brotli = 4,
    Lz4 = 5,
    Zstd = 6,
    Lz4Raw = 7,
}

/// <summary>Specifies how often a field occurs. The numbers are those of the format.</summary>
internal enum Repetition
{
    Required = 0,
    Optional = 1,
    Repeated = 2,
}

/// <summary>Specifies the kind of a page. The numbers are those of the format.</summary>
internal enum PageKind
{
    Data = 0,
    Index = 1,
    Dictionary = 2,
    DataV2 = 3,
}

/// <summary>Specifies the meaning of the bytes of a column. The numbers are the field ids of the union <c>LogicalType</c>.</summary>
internal enum LogicalType
{
    None = 0,
    String = 1,
    List = 3,
    Enum = 4,
    Integer = 10,
    Json = 12,
    Uuid = 14,
    Float16 = 15,
}

/// <summary>The magic at each end of a file.</summary>
internal static class ParquetMagic
{
    public const int Length = 4;

    public static ReadOnlySpan<byte> Bytes => "PAR1"u8;
}
