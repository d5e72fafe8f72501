namespace StellaInterop.Cli.Output;

/// <summary>Specifies the number format of a vector.</summary>
internal enum OutputType
{
    /// <summary>32-bit floating point, as the model returns it.</summary>
    Float32,

    /// <summary>16-bit floating point.</summary>
    Half,

    /// <summary>8-bit integers with a scale.</summary>
    Int8,

    /// <summary>Packed sign bits.</summary>
    Binary,
}
