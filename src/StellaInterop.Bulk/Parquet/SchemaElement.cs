namespace StellaInterop.Bulk.Parquet;

/// <summary>Represents a node of the schema of a file.</summary>
internal sealed class SchemaElement
{
    private const int UnknownAnnotation = -1;

    /// <summary>The older annotations by number. They are in the words of the format.</summary>
    private static readonly string[] Annotations =
    [
        "UTF8", "MAP", "MAP_KEY_VALUE", "LIST", "ENUM", "DECIMAL", "DATE", "TIME_MILLIS", "TIME_MICROS", "TIMESTAMP_MILLIS", "TIMESTAMP_MICROS",
        "UINT_8", "UINT_16", "UINT_32", "UINT_64", "INT_8", "INT_16", "INT_32", "INT_64", "JSON", "BSON", "INTERVAL",
    ];

    /// <summary>The logical types by the id of their field in the union.</summary>
    private static readonly string[] LogicalTypes =
        ["", "STRING", "MAP", "LIST", "ENUM", "DECIMAL", "DATE", "TIME", "TIMESTAMP", "", "INTEGER", "UNKNOWN", "JSON", "BSON", "UUID", "FLOAT16"];

    private static readonly string[] Types = ["BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"];

    private ParquetType type;
    private int typeLength;
    private Repetition repetition;
    private int annotation = UnknownAnnotation;
    private LogicalType logical;
    private bool isSigned = true;
    private string name = "";

    /// <summary>Gets the number of nodes below this one; 0 for a column.</summary>
    public int ChildCount { get; private set; }

    public static SchemaElement Read(ref CompactReader reader)
    {
        var element = new SchemaElement();
        int field = 0;
        while (reader.NextField(ref field))
        {
            element.ReadField(ref reader, field);
        }

        return element;
    }

    public FileColumn ToColumn() => new(name, GetKind(), GetTypeName(), GetValueBytes(), repetition == Repetition.Optional);

    private void ReadField(ref CompactReader reader, int field)
    {
        switch (field)
        {
            case 1:
                type = (ParquetType)reader.ReadInt32();
                break;
            case 2:
                typeLength = reader.ReadInt32();
                break;
            case 3:
                repetition = (Repetition)reader.ReadInt32();
                break;
            case 4:
                name = reader.ReadString();
                break;
            case 5:
                ChildCount = reader.ReadInt32();
                break;
            case 6:
                annotation = reader.ReadInt32();
                break;
            case 10:
                ReadLogicalType(ref reader);
                break;
            default:
                reader.Skip();
                break;
        }
    }

    private void ReadLogicalType(ref CompactReader reader)
    {
        reader.ExpectStruct();
        int kind = 0;
        while (reader.NextField(ref kind))
        {
            logical = (LogicalType)kind;
            if (logical != LogicalType.Integer)
            {
                reader.Skip();
                continue;
            }

            reader.ExpectStruct();
            int field = 0;
            while (reader.NextField(ref field))
            {
                if (field == 2)
                {
                    isSigned = reader.ReadBoolean();
                }
                else
                {
                    reader.Skip();
                }
            }
        }
    }

    private ColumnKind GetKind()
    {
        if (ChildCount > 0 || repetition == Repetition.Repeated)
        {
            return ColumnKind.Other;
        }

        string? meaning = NameOf(LogicalTypes, (int)logical) ?? NameOf(Annotations, annotation);
        return (type, meaning) switch
        {
            (ParquetType.ByteArray, "STRING" or "UTF8" or "ENUM" or "JSON") => ColumnKind.Text,
            (ParquetType.Int32 or ParquetType.Int64, "INTEGER") => isSigned ? ColumnKind.SignedInteger : ColumnKind.UnsignedInteger,
            (ParquetType.Int32 or ParquetType.Int64, null or "INT_8" or "INT_16" or "INT_32" or "INT_64") => ColumnKind.SignedInteger,
            (ParquetType.Int32 or ParquetType.Int64, "UINT_8" or "UINT_16" or "UINT_32" or "UINT_64") => ColumnKind.UnsignedInteger,
            (ParquetType.FixedLengthByteArray, "UUID") when typeLength == 16 => ColumnKind.Uuid,
            _ => ColumnKind.Other,
        };
    }

    private string GetTypeName()
    {
        string? meaning = NameOf(LogicalTypes, (int)logical) ?? NameOf(Annotations, annotation);
        string physical = ChildCount > 0 ? "group" : NameOf(Types, (int)type) ?? "unknown";
        string full = meaning is null ? physical : $"{physical} ({meaning})";
        return repetition == Repetition.Repeated ? $"repeated {full}" : full;
    }

    private int GetValueBytes() => type switch
    {
        ParquetType.Int32 => sizeof(int),
        ParquetType.Int64 => sizeof(long),
        ParquetType.FixedLengthByteArray => typeLength,
        _ => 0,
    };

    private static string? NameOf(string[] names, int index) => index >= 0 && index < names.Length && names[index].Length > 0 ? names[index] : null;
}
