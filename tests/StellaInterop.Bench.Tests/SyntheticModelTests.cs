using System.Security.Cryptography;
using System.Text.Json;
using StellaInterop.Bench.Sources;
using StellaInterop.Bench.Synthetic;

namespace StellaInterop.Bench.Tests;

public class SyntheticModelTests
{
    private static readonly (string Path, SyntheticFile File)[] Files =
    [
        ("model.safetensors", SyntheticModel.Encoder),
        ("2_Dense_1024/model.safetensors", SyntheticModel.Head),
    ];

    private static JsonElement Layout { get; } = JsonDocument
        .Parse(File.ReadAllBytes(Path.Combine(SourceTree.Root, "tests/fixtures/synthetic-400m-layout.json")))
        .RootElement.GetProperty("files");

    [Test]
    public void Every_tensor_has_the_first_values_and_the_offset_of_the_layout()
    {
        foreach (var (path, file) in Files)
        {
            JsonElement layout = Layout.GetProperty(path);
            JsonElement[] rows = [.. layout.GetProperty("tensors").EnumerateArray()];
            Assert.That(file.Tensors, Has.Count.EqualTo(rows.Length));
            foreach (var (tensor, row) in file.Tensors.Zip(rows))
            {
                var values = new float[4];
                tensor.Fill(0, values);
                string name = row.GetProperty("name").GetString()!;
                Assert.That(tensor.Name, Is.EqualTo(name));
                Assert.That(
                    values.Select(value => BitConverter.SingleToUInt32Bits(value).ToString("x8")),
                    Is.EqualTo(row.GetProperty("first4_hex").EnumerateArray().Select(hex => hex.GetString())),
                    name);
                Assert.That(
                    file.OffsetOf(tensor),
                    Is.EqualTo(row.GetProperty("begin").GetInt64() + layout.GetProperty("data_starts_at").GetInt64()),
                    name);
            }

            Assert.That(file.Length, Is.EqualTo(layout.GetProperty("file_size").GetInt64()));
        }
    }

    [Test]
    public void The_header_has_the_hash_of_the_layout()
    {
        foreach (var (path, file) in Files)
        {
            Assert.That(
                Convert.ToHexStringLower(SHA256.HashData(file.Header.Span[sizeof(ulong)..])),
                Is.EqualTo(Layout.GetProperty(path).GetProperty("header_sha256").GetString()));
        }
    }

    [Test]
    public void The_head_is_written_with_the_hash_of_the_layout()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        SyntheticModel.Head.Write(part => hash.AppendData(part.Span), CancellationToken.None);
        Assert.That(
            Convert.ToHexStringLower(hash.GetHashAndReset()),
            Is.EqualTo(Layout.GetProperty("2_Dense_1024/model.safetensors").GetProperty("sha256").GetString()));
    }

    [Test]
    public void Values_do_not_depend_on_the_first_element_of_a_fill()
    {
        SyntheticTensor tensor = SyntheticModel.Encoder.Tensors[5];
        float[] whole = new float[100], part = new float[37];
        tensor.Fill(0, whole);
        tensor.Fill(63, part);
        Assert.That(part, Is.EqualTo(whole[63..]));
    }

    [Test]
    public void Dequantized_int8_weights_differ_by_at_most_half_a_step()
    {
        var tensor = new SyntheticTensor(7, "small", [70, 5], 0, 0.05f);
        var values = new float[tensor.Count];
        tensor.Fill(0, values);
        var (weights, scales) = Int8Weights.Quantize(tensor);
        for (int output = 0; output < 70; output++)
        {
            float scale = BitConverter.ToSingle(scales, output * sizeof(float));
            float[] row = values[(output * 5)..((output + 1) * 5)];
            Assert.That(scale, Is.EqualTo(row.Max(Math.Abs) / 127));
            for (int input = 0; input < 5; input++)
            {
                float back = (sbyte)weights[(input * 70) + output] * scale;
                Assert.That(back, Is.EqualTo(row[input]).Within(scale * 0.501f));
            }
        }
    }
}
