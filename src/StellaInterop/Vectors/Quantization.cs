using System.Numerics.Tensors;

namespace StellaInterop.Vectors;

/// <summary>
/// Converts vectors of 32-bit floats to smaller forms and back: <see cref="Half"/>, 8-bit integers with a scale, and one bit per
/// component.
/// </summary>
/// <remarks>
/// Thread-safe; nothing is allocated. Numbers of a source must be finite: the error names the index of the first bad number. One call
/// can convert a row-major matrix to <see cref="Half"/>; the other forms convert one row per call.
/// </remarks>
public static class Quantization
{
    /// <summary>The first magnitude that rounds to more than the largest <see cref="Half"/>, 65504.</summary>
    private const float HalfLimit = 65520f;

    private const int Int8Max = 127;

    /// <summary>
    /// A row whose largest magnitude is below this counts as zero in 8 bits, because its scale would lose its digits to underflow. It is
    /// 127 times the smallest normal number, about 1.5e-36.
    /// </summary>
    private const float SmallestInt8Range = Int8Max * 1.17549435e-38f;

    /// <summary>Rounds 32-bit floats to the nearest 16-bit floats, ties to even.</summary>
    /// <param name="source">Finite numbers of a magnitude below 65520, in any shape.</param>
    /// <param name="destination">Receives as many numbers.</param>
    /// <exception cref="ArgumentException">A number is not finite or too large, or the lengths differ.</exception>
    public static void ToHalf(ReadOnlySpan<float> source, Span<Half> destination)
    {
        Guard.ThrowIfLengthIsNot(source.Length, destination.Length, nameof(destination));
        if (MaxMagnitude(source, nameof(source)) >= HalfLimit)
        {
            int index = FirstIndex(source, x => MathF.Abs(x) >= HalfLimit);
            throw new ArgumentException(
                $"Number {index} is {source[index]}; the largest magnitude of a Half is {Half.MaxValue}. Scale the vector, for example to length 1.", nameof(source));
        }

        TensorPrimitives.ConvertToHalf(source, destination);
    }

    /// <summary>Converts 16-bit floats to 32-bit floats, without a loss.</summary>
    /// <param name="source">The numbers.</param>
    /// <param name="destination">Receives as many numbers.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static void FromHalf(ReadOnlySpan<Half> source, Span<float> destination)
    {
        Guard.ThrowIfLengthIsNot(source.Length, destination.Length, nameof(destination));
        TensorPrimitives.ConvertToSingle(source, destination);
    }

    /// <summary>
    /// Writes a row as 8-bit integers: q = round(x / scale) in -127 to 127, where scale is the row's largest magnitude / 127.
    /// </summary>
    /// <param name="source">One row of finite numbers.</param>
    /// <param name="destination">Receives as many integers.</param>
    /// <returns>
    /// The scale: x is about q * scale, within half of it. 0 for a row that is zero or whose largest magnitude is below
    /// 1.5e-36; all its integers are 0.
    /// </returns>
    /// <exception cref="ArgumentException">A number is not finite, or the lengths differ.</exception>
    public static float ToInt8(ReadOnlySpan<float> source, Span<sbyte> destination)
    {
        Guard.ThrowIfLengthIsNot(source.Length, destination.Length, nameof(destination));
        float max = MaxMagnitude(source, nameof(source));
        if (max < SmallestInt8Range)
        {
            destination.Clear();
            return 0;
        }

        float scale = max / Int8Max;
        if (float.IsInfinity(scale * Int8Max))
        {
            // The division rounded up at the end of a float's range: 127 times the scale must be finite.
            scale = MathF.BitDecrement(scale);
        }

        for (int i = 0; i < source.Length; i++)
        {
            // The quotient of the largest magnitude rounds to exactly 127, because the division error is below one part in ten million.
            destination[i] = (sbyte)MathF.Round(source[i] / scale);
        }

        return scale;
    }

    /// <summary>Converts a row of 8-bit integers to floats: x = q * scale.</summary>
    /// <param name="source">One row of integers.</param>
    /// <param name="scale">The row's scale, finite and not negative.</param>
    /// <param name="destination">Receives as many numbers.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The scale is negative or not finite.</exception>
    public static void FromInt8(ReadOnlySpan<sbyte> source, float scale, Span<float> destination)
    {
        Guard.ThrowIfLengthIsNot(source.Length, destination.Length, nameof(destination));
        Guard.ThrowIfNotScale(scale, nameof(scale));
        for (int i = 0; i < source.Length; i++)
        {
            destination[i] = source[i] * scale;
        }
    }

    /// <summary>Returns the number of bytes of a row of bits: <paramref name="dimension"/> / 8, rounded up.</summary>
    /// <param name="dimension">The number of components of the row, not negative.</param>
    /// <exception cref="ArgumentOutOfRangeException">The dimension is negative.</exception>
    public static int GetBinaryLength(int dimension)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(dimension);
        return (int)(((long)dimension + 7) / 8);
    }

    /// <summary>Writes the signs of a row as bits, 1 for a number above zero.</summary>
    /// <remarks>
    /// Component i is bit 7 - i % 8 of byte i / 8: the first component is the highest bit, as in NumPy's packbits and the
    /// <c>ubinary</c> of sentence-transformers. Bits beyond the last component are 0.
    /// </remarks>
    /// <param name="source">One row of finite numbers.</param>
    /// <param name="destination">Receives <see cref="GetBinaryLength"/> bytes.</param>
    /// <exception cref="ArgumentException">A number is not finite, or the destination has another length.</exception>
    public static void ToBinary(ReadOnlySpan<float> source, Span<byte> destination)
    {
        Guard.ThrowIfLengthIsNot(GetBinaryLength(source.Length), destination.Length, nameof(destination));
        _ = MaxMagnitude(source, nameof(source));
        destination.Clear();
        for (int i = 0; i < source.Length; i++)
        {
            if (source[i] > 0)
            {
                destination[i / 8] |= (byte)(0x80 >> (i % 8));
            }
        }
    }

    /// <summary>Converts a row of bits to signs: 1 for a set bit, -1 for a cleared bit.</summary>
    /// <param name="source">One row, as <see cref="ToBinary"/> writes it.</param>
    /// <param name="destination">Receives as many numbers as the row has components; its length is the dimension.</param>
    /// <exception cref="ArgumentException">
    /// The length of <paramref name="source"/> is not the <see cref="GetBinaryLength"/> of that dimension.
    /// </exception>
    public static void FromBinary(ReadOnlySpan<byte> source, Span<float> destination)
    {
        Guard.ThrowIfLengthIsNot(GetBinaryLength(destination.Length), source.Length, nameof(source));
        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] = (source[i / 8] & (0x80 >> (i % 8))) != 0 ? 1 : -1;
        }
    }

    /// <summary>Returns the largest magnitude of finite numbers; 0 for an empty span.</summary>
    /// <exception cref="ArgumentException">A number is not finite.</exception>
    internal static float MaxMagnitude(ReadOnlySpan<float> source, string name)
    {
        // The result is NaN if any number is NaN.
        float max = source.IsEmpty ? 0 : MathF.Abs(TensorPrimitives.MaxMagnitude(source));
        if (!float.IsFinite(max))
        {
            int index = FirstIndex(source, x => !float.IsFinite(x));
            throw new ArgumentException($"Number {index} of {name} is {source[index]}; it must be finite.", name);
        }

        return max;
    }

    private static int FirstIndex(ReadOnlySpan<float> source, Predicate<float> match)
    {
        int index = 0;
        while (!match(source[index]))
        {
            index++;
        }

        return index;
    }
}
