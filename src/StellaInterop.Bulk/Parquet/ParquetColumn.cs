namespace StellaInterop.Bulk.Parquet;

/// <summary>Describes a column that <see cref="ParquetWriter"/> writes. No value is null.</summary>
/// <param name="Name">The name.</param>
/// <param name="Type">The type of a value, or of an element of a list.</param>
internal sealed record ParquetColumn(string Name, ParquetType Type)
{
    /// <summary>Gets the meaning of the bytes.</summary>
    public LogicalType Logical { get; init; }

    /// <summary>Gets the number of bytes of a value of the type <see cref="ParquetType.FixedLengthByteArray"/>.</summary>
    public int TypeLength { get; init; }

    /// <summary>Gets the number of elements of each list; 0 for a column of single values.</summary>
    public int ListLength { get; init; }

    /// <summary>Gets the encoding of the values: <see cref="ParquetEncoding.Plain"/> or <see cref="ParquetEncoding.ByteStreamSplit"/>.</summary>
    public ParquetEncoding Encoding { get; init; }

    /// <summary>Gets the number of values in a row.</summary>
    public int ValuesPerRow => Math.Max(ListLength, 1);

    /// <summary>Gets the number of bytes of a value; 0 if it varies.</summary>
    public int ValueBytes => Type switch
    {
        ParquetType.Boolean => sizeof(bool),
        ParquetType.Int32 => sizeof(int),
        ParquetType.Int64 => sizeof(long),
        ParquetType.Float => sizeof(float),
        ParquetType.Double => sizeof(double),
        ParquetType.FixedLengthByteArray => TypeLength,
        _ => 0,
    };

    /// <summary>Gets the names from the root of the schema to the values.</summary>
    public string[] Path => ListLength > 0 ? [Name, ParquetNames.List, ParquetNames.Element] : [Name];
}

/// <summary>The names that the format gives to the levels of a list.</summary>
internal static class ParquetNames
{
    public const string Root = "schema";
    public const string List = "list";
    public const string Element = "element";
}
