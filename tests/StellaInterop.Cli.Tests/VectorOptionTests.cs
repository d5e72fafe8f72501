using System.Text.Json;
using StellaInterop.Vectors;

namespace StellaInterop.Tests;

/// <summary>Tests <c>stella embed</c> with --output-type and --truncate-prefix.</summary>
internal sealed class VectorOptionTests
{
    private static readonly string[] Common = ["embed", "a river", "a stone", "--model", Fixtures.Model("tiny-new")];

    [Test]
    public void Every_output_type_equals_the_conversion_by_the_library()
    {
        float[][] vectors = [.. Rows().Select(row => Numbers<float>(row))];
        JsonElement[] halves = Rows("--output-type", "half");
        JsonElement[] integers = Rows("--output-type", "int8");
        JsonElement[] bits = Rows("--output-type", "BINARY", "--format", "jsonl");
        Assert.Multiple(() =>
        {
            for (int i = 0; i < vectors.Length; i++)
            {
                float[] vector = vectors[i];
                var q = new sbyte[vector.Length];
                float scale = Quantization.ToInt8(vector, q);
                byte[] packed = new byte[Quantization.GetBinaryLength(vector.Length)];
                Quantization.ToBinary(vector, packed);
                Assert.That(Numbers<float>(halves[i]), Is.EqualTo(vector.Select(x => (float)(Half)x)));
                Assert.That(Numbers<sbyte>(integers[i]), Is.EqualTo(q));
                Assert.That(integers[i].GetProperty("scale").GetSingle(), Is.EqualTo(scale));
                Assert.That(bits[i].GetProperty("embedding").EnumerateArray().Select(x => x.GetByte()), Is.EqualTo(packed));
                Assert.That(bits[i].GetProperty("dimension").GetInt32(), Is.EqualTo(vector.Length));
            }
        });
    }

    [Test]
    public void A_truncated_prefix_has_length_one_and_differs_from_the_head_of_its_dimension()
    {
        float[] vector = Numbers<float>(Rows()[0]);
        float[] prefix = Numbers<float>(Rows("--truncate-prefix", "256")[0]);
        float[] head = Numbers<float>(Rows("--dimension", "256")[0]);
        float[] expected = new float[256];
        PrefixTruncation.TruncateAndRenormalize(vector, expected);
        Assert.That(prefix, Is.EqualTo(expected));
        Assert.That(Math.Abs(Similarity.Cosine(prefix, head)), Is.LessThan(0.9));
        Assert.That(Rows("--truncate-prefix", "9", "--output-type", "binary")[0].GetProperty("embedding").GetArrayLength(), Is.EqualTo(2));
    }

    [TestCase("--truncate-prefix is 0", "--truncate-prefix", "0")]
    [TestCase("must be 1 to 256", "--truncate-prefix", "257", "--dimension", "256")]
    [TestCase("which --raw forbids", "--truncate-prefix", "8", "--raw")]
    [TestCase("it must be one of float32, float, half, int8, binary", "--output-type", "int4")]
    public void Invalid_option_values_are_wrong_usage(string expectedText, params string[] arguments)
    {
        StellaResult result = StellaProcess.Run([.. Common, .. arguments]);
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((2, "")));
        Assert.That(result.Error, Does.Contain(expectedText));
    }

    private static JsonElement[] Rows(params string[] arguments)
    {
        StellaResult result = StellaProcess.Run([.. Common, .. arguments]);
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((0, "")));
        return result.Rows;
    }

    private static T[] Numbers<T>(JsonElement row) => row.GetProperty("embedding").Deserialize<T[]>()!;
}
