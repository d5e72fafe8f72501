using System.Runtime.InteropServices;
using StellaInterop.Vectors;

namespace StellaInterop.Bulk.Outputs;

/// <summary>Converts vectors to the bytes of their number format, which Parquet and NumPy share.</summary>
internal static class VectorBytes
{
    /// <summary>Returns the number of bytes of a vector.</summary>
    public static int LengthOf(StellaBulkVectorType type, int dimension) => type switch
    {
        StellaBulkVectorType.Float32 => dimension * sizeof(float),
        StellaBulkVectorType.Half => dimension * sizeof(ushort),
        StellaBulkVectorType.Int8 => dimension,
        _ => Quantization.GetBinaryLength(dimension),
    };

    /// <summary>Converts one vector.</summary>
    /// <returns>The scale of 8-bit integers; 0 for other formats.</returns>
    /// <exception cref="ArgumentException">A number is not finite or exceeds the range of the format.</exception>
    public static float Convert(StellaBulkVectorType type, ReadOnlySpan<float> vector, Span<byte> bytes)
    {
        switch (type)
        {
            case StellaBulkVectorType.Float32:
                MemoryMarshal.AsBytes(vector).CopyTo(bytes);
                return 0;
            case StellaBulkVectorType.Half:
                Quantization.ToHalf(vector, MemoryMarshal.Cast<byte, Half>(bytes));
                return 0;
            case StellaBulkVectorType.Int8:
                return Quantization.ToInt8(vector, MemoryMarshal.Cast<byte, sbyte>(bytes));
            default:
                Quantization.ToBinary(vector, bytes);
                return 0;
        }
    }
}
