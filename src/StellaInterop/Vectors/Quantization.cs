using System.Numerics.Tensors;

namespace StellaInterop.Vectors;

/// <summary>
/// Converts vectors of 32-bit floats to smaller forms and back: <see cref="Half"/>, 8-bit integers with a scale, and one bit per
/// component.
/// </summary>
/// <remarks>
/// Thread-safe; nothing is allocated. Numbers of a source must be finite: the error names the index of the first that is not. One call
/// can convert a row-major matrix to <see cref="Half"/>; the other forms convert one row per call.
/// </remarks>
public static class Quantization
{
    /// <summary>The first magnitude that rounds to more than the largest <see cref="Half"/>, 65504.</summary>
    private const float HalfLimit = 65520f;

    private const int Int8Max = 127;

    /// <summary>
    /// Rows whose largest magnitude is below this count as zero in 8 bits, since their scale would lose its digits to
    /// underflow: 127 times the smallest normal number, about 1.5e-36.
    /// </summary>
    private const float SmallestInt8Range = Int8Max * 1.17549435e-38f;

    /// <summary>Rounds 32-bit floats to the nearest 16-bit floats, ties to even.</summary>
    /// <param name="source">Finite numbers of a magnitude below 65520, in any shape.</param>
    /// <param name="destination">Receives as many numbers.</param>
    /// <exception cref="ArgumentException">A number is not finite or too large, or the lengths differ.</exception>
    public static void ToHalf(ReadOnlySpan<float> source, Span<Half> destination)
    {
        ThrowIfLengthsDiffer(source.Length, destination.Length, nameof(destination));
        if (MaxMagnitude(source, nameof(source)) >= HalfLimit)
        {
            int index = FirstIndex(source, x => MathF.Abs(x) >= HalfLimit);
            throw new ArgumentException(
                $"number {index} is {source[index]}; the largest magnitude of a Half is {Half.MaxValue}", nameof(source));
        }

        TensorPrimitives.ConvertToHalf(source, destination);
    }

    /// <summary>Converts 16-bit floats to 32-bit floats, without a loss.</summary>
    /// <param name="source">The numbers.</param>
    /// <param name="destination">Receives as many numbers.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static void FromHalf(ReadOnlySpan<Half> source, Span<float> destination)
    {
        ThrowIfLengthsDiffer(source.Length, destination.Length, nameof(destination));
        TensorPrimitives.ConvertToSingle(source, destination);
    }

    /// <summary>Writes a row as 8-bit integers: q = round(x / scale) in -127 to 127, where scale is the row's largest magnitude / 127.</summary>
    /// <param name="source">One row of finite numbers.</param>
    /// <param name="destination">Receives as many integers.</param>
    /// <returns>
    /// The scale: x is about q * scale, within half of it. 0 for a row that is zero or whose largest magnitude is below
    /// 1.5e-36; all its integers are 0.
    /// </returns>
    /// <exception cref="ArgumentException">A number is not finite, or the lengths differ.</exception>
    public static float ToInt8(ReadOnlySpan<float> source, Span<sbyte> destination)
    {
        ThrowIfLengthsDiffer(source.Length, destination.Length, nameof(destination));
        float max = MaxMagnitude(source, nameof(source));
        if (max < SmallestInt8Range)
        {
            destination.Clear();
            return 0;
        }

        float scale = max / Int8Max;
        if (float.IsInfinity(scale * Int8Max))
        {
            // Rounded up at the end of a float's range: what it stands for must be a number.
            scale = MathF.BitDecrement(scale);
        }

        for (int i = 0; i < source.Length; i++)
        {
            // The quotient of the largest rounds to 127 exactly: division errs by less than one part in ten million.
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
        ThrowIfLengthsDiffer(source.Length, destination.Length, nameof(destination));
        ThrowIfNoScale(scale, nameof(scale));
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
        ThrowIfLengthsDiffer(GetBinaryLength(source.Length), destination.Length, nameof(destination));
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

    /// <summary>Converts a row of bits to signs: 1 for a set bit, -1 for a cleared one.</summary>
    /// <param name="source">One row, as <see cref="ToBinary"/> writes it.</param>
    /// <param name="destination">Receives as many numbers as the row has components; its length is the dimension.</param>
    /// <exception cref="ArgumentException">The length of <paramref name="source"/> is not the <see cref="GetBinaryLength"/> of that dimension.</exception>
    public static void FromBinary(ReadOnlySpan<byte> source, Span<float> destination)
    {
        ThrowIfLengthsDiffer(GetBinaryLength(destination.Length), source.Length, nameof(source));
        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] = (source[i / 8] & (0x80 >> (i % 8))) != 0 ? 1 : -1;
        }
    }

    /// <summary>The largest magnitude of finite numbers; 0 for none.</summary>
    /// <exception cref="ArgumentException">A number is not finite.</exception>
    internal static float MaxMagnitude(ReadOnlySpan<float> source, string name)
    {
        // It is NaN where any number is.
        float max = source.IsEmpty ? 0 : MathF.Abs(TensorPrimitives.MaxMagnitude(source));
        if (!float.IsFinite(max))
        {
            int index = FirstIndex(source, x => !float.IsFinite(x));
            throw new ArgumentException($"Number {index} of {name} is {source[index]}; it must be finite.", name);
        }

        return max;
    }

    internal static void ThrowIfNoScale(float scale, string name)
    {
        if (!float.IsFinite(scale) || scale < 0)
        {
            throw new ArgumentOutOfRangeException(name, scale, "a scale is finite and not negative");
        }
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

    private static void ThrowIfLengthsDiffer(int needed, int found, string name)
    {
        if (needed != found)
        {
            throw new ArgumentException($"{name} has {found} elements; {needed} are needed.", name);
        }
    }
}
