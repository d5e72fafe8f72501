using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace StellaInterop.Vectors;

/// <summary>Compares vectors of 32-bit floats, of 8-bit integers and of bits, and finds the highest and the lowest scores.</summary>
/// <remarks>
/// Thread-safe; nothing is allocated. Methods that end in <c>Rows</c> compare one query with each row of a row-major matrix
/// <c>[scores.Length, query.Length]</c>. No result is NaN: numbers that are not finite are refused, and so is the cosine of a vector of
/// length zero. No intermediate result overflows or underflows; a result beyond the largest float throws
/// <see cref="OverflowException"/>. Vectors of a model have length 1 by default: use
/// <see cref="Dot(ReadOnlySpan{float}, ReadOnlySpan{float})"/> for them, and a cosine for vectors of any length.
/// </remarks>
public static class Similarity
{
    /// <summary>A sum of products in this range has neither overflowed nor lost its digits to underflow.</summary>
    private const float SmallestSum = 1e-30f;
    private const float LargestSum = 1e30f;

    /// <summary>The number of steps that a 32-bit lane can add without overflow: each step adds at most four products of 2^14.</summary>
    private const int Int8Steps = 1 << 14;

    /// <summary>Returns the cosine of the angle between two vectors.</summary>
    /// <param name="a">A vector of finite numbers that are not all zero.</param>
    /// <param name="b">A vector of the same length.</param>
    /// <returns>-1 to 1; 1 for the same direction.</returns>
    /// <exception cref="ArgumentException">The lengths differ, a number is not finite, or all numbers of a vector are zero.</exception>
    public static float Cosine(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        Guard.ThrowIfDimensionsDiffer(a.Length, b.Length, nameof(b));
        return Cosine(a, Norm(a, nameof(a)), b, nameof(b));
    }

    /// <summary>Computes the cosine of the angle between a query and each row.</summary>
    /// <param name="query">A vector of finite numbers that are not all zero.</param>
    /// <param name="rows">Row-major <c>[scores.Length, query.Length]</c>.</param>
    /// <param name="scores">Receives one number per row, -1 to 1.</param>
    /// <exception cref="ArgumentException">The lengths do not fit, a number is not finite, or all numbers of a vector are zero.</exception>
    public static void CosineRows(ReadOnlySpan<float> query, ReadOnlySpan<float> rows, Span<float> scores)
    {
        Guard.ThrowIfNotMatrix(query.Length, scores.Length, rows.Length, nameof(rows));
        double norm = Norm(query, nameof(query));
        for (int i = 0; i < scores.Length; i++)
        {
            scores[i] = Cosine(query, norm, rows.Slice(i * query.Length, query.Length), nameof(rows));
        }
    }

    /// <summary>Returns the dot product of two vectors: the cosine, if both have length 1.</summary>
    /// <param name="a">A vector of finite numbers.</param>
    /// <param name="b">A vector of the same length.</param>
    /// <exception cref="ArgumentException">The lengths differ or a number is not finite.</exception>
    /// <exception cref="OverflowException">The product is beyond the largest float.</exception>
    public static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        Guard.ThrowIfDimensionsDiffer(a.Length, b.Length, nameof(b));
        return Dot(a, nameof(a), b, nameof(b));
    }

    /// <summary>Computes the dot product of a query with each row.</summary>
    /// <param name="query">A vector of finite numbers.</param>
    /// <param name="rows">Row-major <c>[scores.Length, query.Length]</c>.</param>
    /// <param name="scores">Receives one number per row.</param>
    /// <exception cref="ArgumentException">The lengths do not fit or a number is not finite.</exception>
    /// <exception cref="OverflowException">A product is beyond the largest float.</exception>
    public static void DotRows(ReadOnlySpan<float> query, ReadOnlySpan<float> rows, Span<float> scores)
    {
        Guard.ThrowIfNotMatrix(query.Length, scores.Length, rows.Length, nameof(rows));
        for (int i = 0; i < scores.Length; i++)
        {
            scores[i] = Dot(query, nameof(query), rows.Slice(i * query.Length, query.Length), nameof(rows));
        }
    }

    /// <summary>Returns the Euclidean distance of two vectors.</summary>
    /// <param name="a">A vector of finite numbers.</param>
    /// <param name="b">A vector of the same length.</param>
    /// <returns>0 for the same vector, more for others.</returns>
    /// <exception cref="ArgumentException">The lengths differ or a number is not finite.</exception>
    /// <exception cref="OverflowException">The distance is beyond the largest float.</exception>
    public static float EuclideanDistance(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        Guard.ThrowIfDimensionsDiffer(a.Length, b.Length, nameof(b));
        return EuclideanDistance(a, nameof(a), b, nameof(b));
    }

    /// <summary>Computes the Euclidean distance of a query to each row.</summary>
    /// <param name="query">A vector of finite numbers.</param>
    /// <param name="rows">Row-major <c>[distances.Length, query.Length]</c>.</param>
    /// <param name="distances">Receives one number per row.</param>
    /// <exception cref="ArgumentException">The lengths do not fit or a number is not finite.</exception>
    /// <exception cref="OverflowException">A distance is beyond the largest float.</exception>
    public static void EuclideanDistanceRows(ReadOnlySpan<float> query, ReadOnlySpan<float> rows, Span<float> distances)
    {
        Guard.ThrowIfNotMatrix(query.Length, distances.Length, rows.Length, nameof(rows));
        for (int i = 0; i < distances.Length; i++)
        {
            distances[i] = EuclideanDistance(query, nameof(query), rows.Slice(i * query.Length, query.Length), nameof(rows));
        }
    }

    /// <summary>Returns the cosine of the angle between two vectors of 8-bit integers. Their scales do not matter.</summary>
    /// <param name="a">A vector that is not all zero, as <see cref="Quantization.ToInt8"/> writes it.</param>
    /// <param name="b">A vector of the same length.</param>
    /// <returns>-1 to 1.</returns>
    /// <exception cref="ArgumentException">The lengths differ, or all numbers of a vector are zero.</exception>
    public static float Cosine(ReadOnlySpan<sbyte> a, ReadOnlySpan<sbyte> b)
    {
        Guard.ThrowIfDimensionsDiffer(a.Length, b.Length, nameof(b));
        double norms = Math.Sqrt(SumOfSquares(a, nameof(a))) * Math.Sqrt(SumOfSquares(b, nameof(b)));
        return (float)Math.Clamp(SumOfProducts(a, b) / norms, -1, 1);
    }

    /// <summary>Returns the dot product of two vectors of 8-bit integers. The sum of the integers is exact at any length.</summary>
    /// <param name="a">A vector, as <see cref="Quantization.ToInt8"/> writes it.</param>
    /// <param name="scaleOfA">The scale of <paramref name="a"/>.</param>
    /// <param name="b">A vector of the same length.</param>
    /// <param name="scaleOfB">The scale of <paramref name="b"/>.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A scale is negative or not finite.</exception>
    /// <exception cref="OverflowException">The product is beyond the largest float.</exception>
    public static float Dot(ReadOnlySpan<sbyte> a, float scaleOfA, ReadOnlySpan<sbyte> b, float scaleOfB)
    {
        Guard.ThrowIfDimensionsDiffer(a.Length, b.Length, nameof(b));
        Guard.ThrowIfNotScale(scaleOfA, nameof(scaleOfA));
        Guard.ThrowIfNotScale(scaleOfB, nameof(scaleOfB));
        return Narrow(SumOfProducts(a, b) * (double)scaleOfA * scaleOfB);
    }

    /// <summary>Returns the number of bits in which two rows of bits differ.</summary>
    /// <param name="a">A row of bits, as <see cref="Quantization.ToBinary"/> writes it.</param>
    /// <param name="b">A row of the same length.</param>
    /// <returns>0 for the same signs, at most the dimension. The cosine is about cos(pi * distance / dimension).</returns>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static long HammingDistance(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        Guard.ThrowIfDimensionsDiffer(a.Length, b.Length, nameof(b));
        return TensorPrimitives.HammingBitDistance(a, b);
    }

    /// <summary>Counts the bits in which a query differs from each row.</summary>
    /// <param name="query">A row of bits.</param>
    /// <param name="rows">Row-major <c>[distances.Length, query.Length]</c>.</param>
    /// <param name="distances">Receives one number per row.</param>
    /// <exception cref="ArgumentException">The lengths do not fit.</exception>
    public static void HammingDistanceRows(ReadOnlySpan<byte> query, ReadOnlySpan<byte> rows, Span<long> distances)
    {
        Guard.ThrowIfNotMatrix(query.Length, distances.Length, rows.Length, nameof(rows));
        for (int i = 0; i < distances.Length; i++)
        {
            distances[i] = TensorPrimitives.HammingBitDistance(query, rows.Slice(i * query.Length, query.Length));
        }
    }

    /// <summary>Finds the highest scores.</summary>
    /// <typeparam name="T">The type of a score.</typeparam>
    /// <param name="scores">Scores in any order, such as cosines.</param>
    /// <param name="indices">
    /// Receives the indices of the highest scores, the highest first; of equal scores the lower index first. Its length is the number to
    /// find.
    /// </param>
    /// <returns>The number of indices that were written: the smaller of the two lengths.</returns>
    /// <exception cref="ArgumentException">A score is NaN.</exception>
    public static int TopK<T>(ReadOnlySpan<T> scores, Span<int> indices)
        where T : INumber<T> => Select(scores, indices, static (a, b) => a > b);

    /// <summary>Finds the lowest scores.</summary>
    /// <typeparam name="T">The type of a score.</typeparam>
    /// <param name="scores">Scores in any order, such as distances.</param>
    /// <param name="indices">
    /// Receives the indices of the lowest scores, the lowest first; of equal scores the lower index first. Its length is the number to
    /// find.
    /// </param>
    /// <returns>The number of indices that were written: the smaller of the two lengths.</returns>
    /// <exception cref="ArgumentException">A score is NaN.</exception>
    public static int BottomK<T>(ReadOnlySpan<T> scores, Span<int> indices)
        where T : INumber<T> => Select(scores, indices, static (a, b) => a < b);

    /// <summary>Returns the Euclidean length of a vector of finite numbers.</summary>
    /// <exception cref="ArgumentException">A number is not finite, or all numbers are zero.</exception>
    internal static double Norm(ReadOnlySpan<float> vector, string name)
    {
        float sum = TensorPrimitives.SumOfSquares(vector);
        if (sum is >= SmallestSum and <= LargestSum)
        {
            return Math.Sqrt(sum);
        }

        if (Quantization.MaxMagnitude(vector, name) == 0)
        {
            throw new ArgumentException($"All numbers of {name} are zero, so the vector has no direction.", name);
        }

        double exact = 0;
        foreach (float x in vector)
        {
            exact += (double)x * x;
        }

        return Math.Sqrt(exact);
    }

    private static float Cosine(ReadOnlySpan<float> a, double normOfA, ReadOnlySpan<float> b, string name) =>
        // Rounding may lead out of the range.
        (float)Math.Clamp(DotProduct(a, b) / (normOfA * Norm(b, name)), -1, 1);

    private static float Dot(ReadOnlySpan<float> a, string nameOfA, ReadOnlySpan<float> b, string nameOfB)
    {
        double dot = DotProduct(a, b);
        if (!double.IsFinite(dot))
        {
            _ = Quantization.MaxMagnitude(a, nameOfA);
            _ = Quantization.MaxMagnitude(b, nameOfB);
        }

        return Narrow(dot);
    }

    /// <summary>Returns the dot product. The result is not finite only if a number of a vector is not.</summary>
    private static double DotProduct(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        float dot = TensorPrimitives.Dot(a, b);
        if (MathF.Abs(dot) is >= SmallestSum and <= LargestSum)
        {
            return dot;
        }

        double exact = 0;
        for (int i = 0; i < a.Length; i++)
        {
            exact += (double)a[i] * b[i];
        }

        return exact;
    }

    private static float EuclideanDistance(ReadOnlySpan<float> a, string nameOfA, ReadOnlySpan<float> b, string nameOfB)
    {
        float distance = TensorPrimitives.Distance(a, b);
        // The square roots of the range in which a sum is exact enough.
        if (distance is >= 1e-15f and <= 1e15f)
        {
            return distance;
        }

        _ = Quantization.MaxMagnitude(a, nameOfA);
        _ = Quantization.MaxMagnitude(b, nameOfB);
        double exact = 0;
        for (int i = 0; i < a.Length; i++)
        {
            double difference = (double)a[i] - b[i];
            exact += difference * difference;
        }

        return Narrow(Math.Sqrt(exact));
    }

    private static long SumOfSquares(ReadOnlySpan<sbyte> vector, string name)
    {
        long sum = SumOfProducts(vector, vector);
        return sum > 0 ? sum : throw new ArgumentException($"All numbers of {name} are zero, so the vector has no direction.", name);
    }

    private static long SumOfProducts(ReadOnlySpan<sbyte> a, ReadOnlySpan<sbyte> b)
    {
        ReadOnlySpan<Vector<sbyte>> wideA = MemoryMarshal.Cast<sbyte, Vector<sbyte>>(a);
        ReadOnlySpan<Vector<sbyte>> wideB = MemoryMarshal.Cast<sbyte, Vector<sbyte>>(b);
        long sum = 0;
        for (int first = 0; first < wideA.Length; first += Int8Steps)
        {
            int last = Math.Min(first + Int8Steps, wideA.Length);
            Vector<int> lanes = default;
            for (int i = first; i < last; i++)
            {
                Vector.Widen(wideA[i], out Vector<short> lowA, out Vector<short> highA);
                Vector.Widen(wideB[i], out Vector<short> lowB, out Vector<short> highB);
                Vector.Widen(lowA * lowB, out Vector<int> products0, out Vector<int> products1);
                Vector.Widen(highA * highB, out Vector<int> products2, out Vector<int> products3);
                lanes += products0 + products1 + (products2 + products3);
            }

            Vector.Widen(lanes, out Vector<long> low, out Vector<long> high);
            sum += Vector.Sum(low) + Vector.Sum(high);
        }

        for (int i = wideA.Length * Vector<sbyte>.Count; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }

    private static float Narrow(double number)
    {
        float narrow = (float)number;
        return float.IsFinite(narrow) ? narrow : throw new OverflowException($"The result {number} is beyond the largest float. Scale the vectors, for example to length 1.");
    }

    /// <summary>Keeps the best scores so far in a heap whose root is the worst of them, then sorts the heap.</summary>
    private static int Select<T>(ReadOnlySpan<T> scores, Span<int> indices, Func<T, T, bool> isBetter)
        where T : INumber<T>
    {
        int count = Math.Min(scores.Length, indices.Length);
        Span<int> heap = indices[..count];
        for (int i = 0; i < scores.Length; i++)
        {
            if (T.IsNaN(scores[i]))
            {
                throw new ArgumentException($"Score {i} is NaN. Remove it, or correct the vector that it comes from.", nameof(scores));
            }

            if (i < count)
            {
                heap[i] = i;
                if (i == count - 1)
                {
                    for (int root = (count / 2) - 1; root >= 0; root--)
                    {
                        SiftDown(scores, heap, root, isBetter);
                    }
                }
            }
            else if (count > 0 && isBetter(scores[i], scores[heap[0]]))
            {
                // Equal scores keep the earlier index.
                heap[0] = i;
                SiftDown(scores, heap, 0, isBetter);
            }
        }

        for (int left = count - 1; left > 0; left--)
        {
            (heap[0], heap[left]) = (heap[left], heap[0]);
            SiftDown(scores, heap[..left], 0, isBetter);
        }

        return count;
    }

    private static void SiftDown<T>(ReadOnlySpan<T> scores, Span<int> heap, int root, Func<T, T, bool> isBetter)
    {
        while (true)
        {
            int worst = root;
            for (int child = (2 * root) + 1; child <= (2 * root) + 2 && child < heap.Length; child++)
            {
                if (IsWorse(scores, heap[child], heap[worst], isBetter))
                {
                    worst = child;
                }
            }

            if (worst == root)
            {
                return;
            }

            (heap[root], heap[worst]) = (heap[worst], heap[root]);
            root = worst;
        }
    }

    private static bool IsWorse<T>(ReadOnlySpan<T> scores, int a, int b, Func<T, T, bool> isBetter) =>
        isBetter(scores[b], scores[a]) || (!isBetter(scores[a], scores[b]) && a > b);
}
