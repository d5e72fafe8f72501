using CsCheck;
using StellaInterop.Serving;
using StellaInterop.Vectors;

namespace StellaInterop.Tests;

/// <summary>Similarities compared with 64-bit arithmetic, their behavior at extreme values, and the selection of the best scores.</summary>
internal sealed class SimilarityTests
{
    private static readonly Gen<(float[] A, float[] B)> Pairs =
        Gen.Int[1, 300].SelectMany(n => Gen.Select(Gen.Float[-9, 9].Array[n], Gen.Float[-9, 9].Array[n]))
            .Where(pair => pair.Item1.Any(x => x != 0) && pair.Item2.Any(x => x != 0))
            .Select(pair => (pair.Item1, pair.Item2));

    [Test]
    public void Results_are_close_to_64_bit_arithmetic() => Pairs.Sample(pair =>
    {
        (float[] a, float[] b) = pair;
        double lengths = Length(a) * Length(b);
        // The product of two tiny numbers may round to zero in 32 bits.
        Assert.That(Similarity.Dot(a, b), Is.EqualTo(Dot(a, b)).Within((1e-6 * lengths) + float.Epsilon));
        Assert.That(Similarity.Cosine(a, b), Is.EqualTo(Dot(a, b) / lengths).Within(1e-6));
        Assert.That(Similarity.EuclideanDistance(a, b), Is.EqualTo(Distance(a, b)).Within(1e-4).Percent);
    });

    [TestCase(1e30f)]
    [TestCase(1e18f)]
    [TestCase(1e-18f)]
    [TestCase(1e-42f)]
    public void Intermediate_results_neither_overflow_nor_underflow(float size)
    {
        float[] a = [3 * size, 4 * size, 0];
        float[] b = [4 * size, 3 * size, 0];
        // Subnormal numbers have fewer digits.
        double tolerance = size < 1e-38 ? 1e-2 : 1e-6;
        Assert.Multiple(() =>
        {
            Assert.That(Similarity.Cosine(a, b), Is.EqualTo(0.96).Within(tolerance));
            Assert.That(Similarity.EuclideanDistance(a, b) / size, Is.EqualTo(Math.Sqrt(2)).Within(tolerance));
            Assert.That(Similarity.Dot(a, [1 / 3f, 0, 0]) / size, Is.EqualTo(1).Within(tolerance));
        });
    }

    [Test]
    public void Large_terms_that_cancel_are_exact_and_a_result_beyond_the_range_throws()
    {
        Assert.That(Similarity.Dot([1e38f, 1e38f, 2], [1e38f, -1e38f, 3]), Is.EqualTo(6));
        Assert.That(() => Similarity.Dot([1e38f], [1e38f]), Throws.TypeOf<OverflowException>());
        Assert.That(() => Similarity.EuclideanDistance([3e38f], [-3e38f]), Throws.TypeOf<OverflowException>());
        Assert.That(Similarity.EuclideanDistance([1, 2], [1, 2]), Is.Zero);
        Assert.That(Similarity.Dot([], []), Is.Zero);
    }

    [Test]
    public void Row_methods_return_the_result_of_each_pair() =>
        Gen.Select(Gen.Int[1, 40], Gen.Int[0, 9])
            .SelectMany(size => Gen.Select(Gen.Float[1, 9].Array[size.Item1], Gen.Float[1, 9].Array[size.Item1 * size.Item2]))
            .Sample((query, rows) =>
            {
                float[][] each = [.. rows.Chunk(query.Length)];
                float[] scores = new float[each.Length];
                Similarity.CosineRows(query, rows, scores);
                Assert.That(scores, Is.EqualTo(each.Select(row => Similarity.Cosine(query, row))));
                Similarity.DotRows(query, rows, scores);
                Assert.That(scores, Is.EqualTo(each.Select(row => Similarity.Dot(query, row))));
                Similarity.EuclideanDistanceRows(query, rows, scores);
                Assert.That(scores, Is.EqualTo(each.Select(row => Similarity.EuclideanDistance(query, row))));

                byte[] bits = [.. query.Select(x => (byte)(x * 20))];
                byte[] bitRows = [.. rows.Select(x => (byte)(x * 20))];
                long[] distances = new long[each.Length];
                Similarity.HammingDistanceRows(bits, bitRows, distances);
                Assert.That(distances, Is.EqualTo(bitRows.Chunk(bits.Length).Select(row => Similarity.HammingDistance(bits, row))));
            });

    [Test]
    public void Int8_dot_products_are_exact() => Gen.SByte.Array[1, 700].Select(Gen.SByte.Array[700]).Sample((a, whole) =>
    {
        sbyte[] b = whole[..a.Length];
        long sum = a.Zip(b, (x, y) => (long)x * y).Sum();
        Assert.That(Similarity.Dot(a, 0.5f, b, 0.25f), Is.EqualTo((float)(sum * 0.125)));
    });

    [TestCase((sbyte)127)]
    [TestCase((sbyte)-128)]
    public void A_dot_product_of_millions_of_extreme_integers_does_not_overflow(sbyte largest)
    {
        // Twice as long as a sum in 32-bit lanes could hold, for any number of lanes.
        sbyte[] row = new sbyte[5_000_003];
        Array.Fill(row, largest);
        Assert.That(Similarity.Dot(row, 1, row, 1), Is.EqualTo((float)((double)largest * largest * row.Length)));
        Assert.That(Similarity.Cosine(row, row), Is.EqualTo(1));
    }

    [Test]
    public void HammingDistance_counts_the_bits_that_differ()
    {
        Assert.That(Similarity.HammingDistance([0b1010_0000, 0xFF], [0b0110_0000, 0xFE]), Is.EqualTo(3));
        Assert.That(Similarity.HammingDistance([], []), Is.Zero);
    }

    [Test]
    public void The_cosine_of_a_zero_or_empty_vector_is_refused()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => Similarity.Cosine([0, 0], [1f, 2]), Refusal("a", "no direction"));
            Assert.That(() => Similarity.Cosine([1, 0], [0f, 0]), Refusal("b", "no direction"));
            Assert.That(() => Similarity.CosineRows([1, 0], [1, 1, 0f, 0], new float[2]), Refusal("rows", "no direction"));
            Assert.That(() => Similarity.Cosine(new sbyte[2], new sbyte[] { 1, 2 }), Refusal("a", "no direction"));
            Assert.That(() => Similarity.Cosine(default(ReadOnlySpan<float>), default), Refusal("a", "no direction"));
        });
    }

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    public void Numbers_that_are_not_finite_are_refused(float number)
    {
        float[] bad = [1, number];
        float[] good = [0, 1];
        Assert.Multiple(() =>
        {
            Assert.That(() => Similarity.Cosine(bad, good), Refusal("a", "Number 1"));
            Assert.That(() => Similarity.Cosine(good, bad), Refusal("b", "Number 1"));
            Assert.That(() => Similarity.Dot(bad, good), Refusal("a", "Number 1"));
            Assert.That(() => Similarity.DotRows(good, bad, new float[1]), Refusal("rows", "Number 1"));
            Assert.That(() => Similarity.EuclideanDistance(good, bad), Refusal("b", "Number 1"));
            Assert.That(() => Similarity.EuclideanDistance(bad, bad), Refusal("a", "Number 1"));
        });
    }

    [Test]
    public void Vectors_of_different_lengths_are_refused()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => Similarity.Cosine([1], [1f, 2]), Refusal("b", "2 elements"));
            Assert.That(() => Similarity.Dot([1], [1f, 2]), Refusal("b", "2 elements"));
            Assert.That(() => Similarity.EuclideanDistance([1], [1f, 2]), Refusal("b", "2 elements"));
            Assert.That(() => Similarity.HammingDistance([1], [1, 2]), Refusal("b", "2 elements"));
            Assert.That(() => Similarity.Dot(new sbyte[1], 1, new sbyte[2], 1), Refusal("b", "2 elements"));
            Assert.That(() => Similarity.DotRows([1, 2], [1, 2, 3f], new float[2]), Refusal("rows", "2 rows of 2 have 4"));
            Assert.That(() => Similarity.Dot(new sbyte[1], -1, new sbyte[1], 1), Throws.TypeOf<ArgumentOutOfRangeException>());
        });
    }

    /// <summary>Uses few different scores, so that many are equal.</summary>
    [Test]
    public void TopK_and_BottomK_match_a_stable_sort() =>
        Gen.Select(Gen.Int[-9, 9].Array[0, 200], Gen.Int[0, 220]).Sample((scores, k) =>
        {
            int[] indices = new int[k];
            int count = Similarity.TopK<int>(scores, indices);
            Assert.That(count, Is.EqualTo(Math.Min(k, scores.Length)));
            Assert.That(indices[..count], Is.EqualTo(Enumerable.Range(0, scores.Length).OrderByDescending(i => scores[i]).Take(k)));
            Similarity.BottomK<int>(scores, indices);
            Assert.That(indices[..count], Is.EqualTo(Enumerable.Range(0, scores.Length).OrderBy(i => scores[i]).Take(k)));
        });

    [Test]
    public void A_NaN_score_is_refused()
    {
        Assert.That(() => Similarity.TopK<float>([1, 2, float.NaN], new int[1]), Refusal("scores", "Score 2"));
        Assert.That(() => Similarity.BottomK<float>([float.NaN], new int[1]), Refusal("scores", "Score 0"));
    }

    private static NUnit.Framework.Constraints.EqualStringConstraint Refusal(string argument, string message) =>
        Throws.ArgumentException.With.Message.Contains(message).And.Property("ParamName").EqualTo(argument);

    private static double Dot(float[] a, float[] b) => a.Zip(b, (x, y) => (double)x * y).Sum();

    private static double Length(float[] a) => Math.Sqrt(Dot(a, a));

    private static double Distance(float[] a, float[] b) => Math.Sqrt(a.Zip(b, (x, y) => Math.Pow((double)x - y, 2)).Sum());
}
