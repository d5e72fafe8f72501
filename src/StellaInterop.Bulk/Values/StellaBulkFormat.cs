namespace StellaInterop.Bulk;

/// <summary>Specifies the format of the part files.</summary>
public enum StellaBulkFormat
{
    /// <summary>Apache Parquet, one file per part.</summary>
    Parquet = 0,

    /// <summary>One JSON object per line, one file per part.</summary>
    JsonLines = 1,

    /// <summary>A NumPy array per part and dimension, beside a JSON Lines file with the ids.</summary>
    Npy = 2,
}

/// <summary>Specifies the number format of the vectors.</summary>
public enum StellaBulkVectorType
{
    /// <summary>32-bit floating point, as the model returns it.</summary>
    Float32 = 0,

    /// <summary>16-bit floating point.</summary>
    Half = 1,

    /// <summary>8-bit integers with a scale per vector.</summary>
    Int8 = 2,

    /// <summary>The signs as bits, the first number in the highest bit.</summary>
    Binary = 3,
}
