using CsCheck;
using StellaInterop.Vectors;

namespace StellaInterop.Tests;

/// <summary>Truncating a vector to a prefix and normalizing it.</summary>
internal sealed class PrefixTruncationTests
{
    [Test]
    public void A_truncated_vector_keeps_its_direction_and_has_length_one() =>
        Gen.Select(Gen.Float[-9, 9].Array[1, 200], Gen.Int[1, 200], Gen.OneOf(Gen.Const(1e-30f), Gen.Const(1f), Gen.Const(1e30f)))
            .Where(set => set.Item1.Take(set.Item2).Any(x => MathF.Abs(x) > 1e-3f))
            .Sample((numbers, length, size) =>
            {
                float[] vector = [.. numbers.Select(x => x * size)];
                float[] shorter = new float[Math.Min(length, vector.Length)];
                PrefixTruncation.TruncateAndRenormalize(vector, shorter);
                double norm = Math.Sqrt(vector.Take(shorter.Length).Sum(x => (double)x * x));
                Assert.That(shorter, Is.EqualTo(vector.Take(shorter.Length).Select(x => (float)(x / norm))).Within(1e-6f));
            });

    [Test]
    public void Destination_may_alias_the_source()
    {
        float[] vector = [3, 4, 5];
        PrefixTruncation.TruncateAndRenormalize(vector, vector.AsSpan(0, 2));
        Assert.That(vector, Is.EqualTo(new[] { 0.6f, 0.8f, 5 }).Within(1e-7f));
    }

    [Test]
    public void Zero_and_nonfinite_vectors_and_invalid_lengths_are_refused()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => PrefixTruncation.TruncateAndRenormalize([0, 0, 1], new float[2]), Throws.ArgumentException.With.Message.Contains("zero"));
            Assert.That(() => PrefixTruncation.TruncateAndRenormalize([1, float.NaN], new float[2]), Throws.ArgumentException.With.Message.Contains("Number 1"));
            Assert.That(() => PrefixTruncation.TruncateAndRenormalize([1], new float[2]), Throws.ArgumentException.With.Message.Contains("1 to 1"));
            Assert.That(() => PrefixTruncation.TruncateAndRenormalize([1], []), Throws.ArgumentException.With.Message.Contains("0 elements"));
        });
    }
}
