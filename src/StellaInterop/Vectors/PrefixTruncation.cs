using System.Numerics.Tensors;

namespace StellaInterop.Vectors;

/// <summary>Shortens vectors to their first components, scaled to length 1 again.</summary>
/// <remarks>
/// Stella has a trained head for each of its dimensions, which <see cref="StellaEmbedOptions.Dimension"/> selects; its vectors are better
/// than prefixes of the same length. Use a prefix for lengths that have no head and for stored vectors. The two kinds of vectors cannot
/// be compared with each other. Thread-safe.
/// </remarks>
public static class PrefixTruncation
{
    /// <summary>Keeps the first <c>destination.Length</c> components of a vector and scales them to length 1.</summary>
    /// <param name="vector">A vector of finite numbers.</param>
    /// <param name="destination">Receives the shorter vector. It may be the beginning of <paramref name="vector"/> itself.</param>
    /// <exception cref="ArgumentException">
    /// The destination is empty or longer than the vector, a kept number is not finite, or all kept numbers are zero.
    /// </exception>
    public static void TruncateAndRenormalize(ReadOnlySpan<float> vector, Span<float> destination)
    {
        if (destination.IsEmpty || destination.Length > vector.Length)
        {
            throw new ArgumentException(
                $"{nameof(destination)} has {destination.Length} elements; it must have 1 to {vector.Length}, the length of the vector.", nameof(destination));
        }

        ReadOnlySpan<float> prefix = vector[..destination.Length];
        double norm = Similarity.Norm(prefix, nameof(vector));
        // In two factors, because 1 / norm may be outside a float's range although the results are not.
        float power = (float)Math.ScaleB(1, -Math.ILogB(norm) / 2);
        float rest = (float)(1 / norm / power);
        TensorPrimitives.Multiply(prefix, power, destination);
        TensorPrimitives.Multiply(destination, rest, destination);
    }
}
