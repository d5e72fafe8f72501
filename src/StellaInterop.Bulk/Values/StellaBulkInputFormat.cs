namespace StellaInterop.Bulk;

/// <summary>Specifies the format of the input files.</summary>
public enum StellaBulkInputFormat
{
    /// <summary>The end of the name of each file tells its format.</summary>
    Auto = 0,

    /// <summary>One JSON object per line.</summary>
    JsonLines = 1,

    /// <summary>Comma-separated values (RFC 4180) with a header.</summary>
    Csv = 2,

    /// <summary>Tab-separated values with a header.</summary>
    Tsv = 3,

    /// <summary>Apache Parquet.</summary>
    Parquet = 4,

    /// <summary>One text per line.</summary>
    Text = 5,
}
