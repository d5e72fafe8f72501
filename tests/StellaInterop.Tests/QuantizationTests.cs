using CsCheck;
using StellaInterop.Tests.Serving;
using StellaInterop.Threading;
using StellaInterop.Vectors;

namespace StellaInterop.Tests;

/// <summary>Quantizing vectors to Half, int8 and bits: layout, precision and invalid arguments.</summary>
internal sealed class QuantizationTests
{
    private static readonly Gen<float[]> Rows = Gen.Float[-60_000, 60_000].Array[0, 300];

    [Test]
    public void ToHalf_rounds_to_nearest_and_FromHalf_widens_exactly() => Rows.Sample(row =>
    {
        var halves = new Half[row.Length];
        float[] back = new float[row.Length];
        Quantization.ToHalf(row, halves);
        Quantization.FromHalf(halves, back);
        Assert.That(halves, Is.EqualTo(row.Select(x => (Half)x)));
        Assert.That(back, Is.EqualTo(halves.Select(x => (float)x)));
    });

    [Test]
    public void A_number_beyond_the_range_of_Half_is_refused()
    {
        var halves = new Half[2];
        Quantization.ToHalf([65519.996f, -65519.996f], halves);
        Assert.That(halves, Is.EqualTo(new[] { Half.MaxValue, Half.MinValue }));
        Assert.That(
            () => Quantization.ToHalf([1, -65520], halves),
            Throws.ArgumentException.With.Message.Contains("Number 1 is -65520"));
    }

    [Test]
    public void Int8_error_is_at_most_half_the_scale_and_the_largest_magnitude_is_127() => Rows.Where(row => row.Any(x => MathF.Abs(x) > 2e-36f)).Sample(row =>
    {
        var integers = new sbyte[row.Length];
        float[] back = new float[row.Length];
        float scale = Quantization.ToInt8(row, integers);
        Quantization.FromInt8(integers, scale, back);
        Assert.That(scale, Is.EqualTo(row.Max(MathF.Abs) / 127));
        Assert.That(integers.Max(q => Math.Abs((int)q)), Is.EqualTo(127));
        for (int i = 0; i < row.Length; i++)
        {
            Assert.That(Math.Abs((double)row[i] - back[i]), Is.LessThanOrEqualTo(scale * 0.50001), $"{row[i]}");
        }
    });

    [Test]
    public void ToInt8_rounds_ties_to_even()
    {
        var integers = new sbyte[5];
        Assert.That(Quantization.ToInt8([127, 0.5f, 1.5f, -2.5f, -126.6f], integers), Is.EqualTo(1));
        Assert.That(integers, Is.EqualTo(new sbyte[] { 127, 0, 2, -2, -127 }));
    }

    [TestCase(0f)]
    [TestCase(-0f)]
    [TestCase(float.Epsilon)]
    [TestCase(-1.4e-36f)]
    public void A_row_too_small_for_a_scale_is_quantized_to_zero(float largest)
    {
        sbyte[] integers = [1, 1];
        float[] back = [1, 1];
        float scale = Quantization.ToInt8([0, largest], integers);
        Quantization.FromInt8(integers, scale, back);
        Assert.That((scale, integers, back), Is.EqualTo((0f, new sbyte[2], new float[2])));
    }

    [TestCase(1.5e-36f)]
    [TestCase(float.MaxValue)]
    public void Rows_at_both_ends_of_the_range_have_a_scale(float largest)
    {
        var integers = new sbyte[2];
        float[] back = new float[2];
        Quantization.FromInt8(integers, Quantization.ToInt8([largest, -largest / 4], integers), back);
        Assert.That(integers, Is.EqualTo(new sbyte[] { 127, -32 }));
        Assert.That(back[0] / largest, Is.EqualTo(1).Within(1e-6));
    }

    /// <summary>numpy.packbits([1, 0, 0, 1, 0, 1, 1, 1, 1]) is [151, 128].</summary>
    [Test]
    public void ToBinary_packs_bits_in_the_order_of_numpy_packbits()
    {
        float[] row = [0.1f, -0.1f, 0, 1, -0f, 3, float.Epsilon, 1, 2];
        byte[] bits = [0xFF, 0xFF];
        float[] back = new float[9];
        Quantization.ToBinary(row, bits);
        Quantization.FromBinary(bits, back);
        Assert.That(bits, Is.EqualTo(new byte[] { 151, 128 }));
        Assert.That(back, Is.EqualTo(new float[] { 1, -1, -1, 1, -1, 1, 1, 1, 1 }));
    }

    [Test]
    public void Binary_vectors_survive_a_round_trip() => Gen.Float[-1, 1].Array[0, 300].Sample(row =>
    {
        byte[] bits = new byte[(row.Length + 7) / 8];
        byte[] again = new byte[bits.Length];
        float[] back = new float[row.Length];
        Quantization.ToBinary(row, bits);
        Quantization.FromBinary(bits, back);
        Quantization.ToBinary(back, again);
        Assert.That(back, Is.EqualTo(row.Select(x => x > 0 ? 1f : -1f)));
        Assert.That(again, Is.EqualTo(bits));
    });

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    [TestCase(float.NegativeInfinity)]
    public void Numbers_that_are_not_finite_are_refused_with_their_index(float number)
    {
        float[] row = [1, 2, number, 3];
        string message = FormattableString.Invariant($"Number 2 of source is {number}");
        Assert.Multiple(() =>
        {
            Assert.That(() => Quantization.ToHalf(row, new Half[4]), Throws.ArgumentException.With.Message.Contains(message));
            Assert.That(() => Quantization.ToInt8(row, new sbyte[4]), Throws.ArgumentException.With.Message.Contains(message));
            Assert.That(() => Quantization.ToBinary(row, new byte[1]), Throws.ArgumentException.With.Message.Contains(message));
            Assert.That(() => Quantization.FromInt8(new sbyte[1], number, new float[1]), Throws.TypeOf<ArgumentOutOfRangeException>());
        });
    }

    [Test]
    public void Buffers_of_the_wrong_length_are_refused()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => Quantization.ToHalf(new float[3], new Half[4]), Throws.ArgumentException.With.Message.Contains("4 elements; 3"));
            Assert.That(() => Quantization.FromHalf(new Half[3], new float[2]), Throws.ArgumentException.With.Message.Contains("2 elements; 3"));
            Assert.That(() => Quantization.ToInt8(new float[3], new sbyte[2]), Throws.ArgumentException.With.Message.Contains("2 elements; 3"));
            Assert.That(() => Quantization.FromInt8(new sbyte[3], 1, new float[2]), Throws.ArgumentException.With.Message.Contains("2 elements; 3"));
            Assert.That(() => Quantization.ToBinary(new float[9], new byte[1]), Throws.ArgumentException.With.Message.Contains("1 elements; 2"));
            Assert.That(() => Quantization.FromBinary(new byte[3], new float[9]), Throws.ArgumentException.With.Message.Contains("3 elements; 2"));
            Assert.That(() => Quantization.GetBinaryLength(-1), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(Quantization.GetBinaryLength(int.MaxValue), Is.EqualTo(1 << 28));
        });
    }

    [Test]
    public void Quantized_vectors_approximate_the_scores_of_a_real_model()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("stella-mini"));
        string[] texts =
        [
            "How do I reset my password?", "Steps to recover access to your account", "Banana bread with walnuts",
            "The new phone has a better camera",
        ];
        int dimension = model.Info.DefaultDimension;
        float[] vectors = new float[texts.Length * dimension];
        model.Embed(texts, vectors);
        float[][] rows = [.. vectors.Chunk(dimension)];
        float[] exact = [.. rows[1..].Select(row => Similarity.Dot(rows[0], row))];

        (sbyte[] Integers, float Scale)[] integers = [.. rows.Select(row =>
        {
            var found = new sbyte[dimension];
            return (found, Quantization.ToInt8(row, found));
        })];
        byte[][] bits = [.. rows.Select(row =>
        {
            byte[] found = new byte[Quantization.GetBinaryLength(dimension)];
            Quantization.ToBinary(row, found);
            return found;
        })];
        Assert.Multiple(() =>
        {
            for (int i = 1; i < rows.Length; i++)
            {
                Assert.That(
                    Similarity.Dot(integers[0].Integers, integers[0].Scale, integers[i].Integers, integers[i].Scale),
                    Is.EqualTo(exact[i - 1]).Within(0.01));
                // The share of different signs estimates the angle.
                double angle = Math.PI * Similarity.HammingDistance(bits[0], bits[i]) / dimension;
                Assert.That(Math.Cos(angle), Is.EqualTo(exact[i - 1]).Within(0.2));
            }

            Assert.That(bits[1..].Index().MinBy(row => Similarity.HammingDistance(bits[0], row.Item)).Index, Is.Zero);
        });
    }
}
