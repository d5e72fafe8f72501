using System.Buffers.Binary;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>A test case of a golden file: one text with the token ids and vectors of a float64 reference.</summary>
internal sealed record GoldenCase(
    string Name,
    string Text,
    string PromptName,
    int[] Ids,
    int TotalTokens,
    IReadOnlyDictionary<int, float[]> Vectors)
{
    public StellaPrompt Prompt => PromptName == "none" ? StellaPrompt.Document : StellaPrompt.FromName(PromptName);
}

/// <summary>A golden file. Its <c>format</c> field describes the other fields.</summary>
internal sealed class Golden
{
    public static readonly string[] Models =
        ["tiny-new", "tiny-new-f16", "tiny-qwen2", "tiny-qwen2-bf16", "tiny-qwen2-sharded", "stella-mini"];

    private readonly JsonElement root;

    private Golden(JsonElement root)
    {
        this.root = root;
        Cases = [.. root.GetProperty("cases").EnumerateArray().Select(ReadCase)];
    }

    public IReadOnlyList<GoldenCase> Cases { get; }

    public static Golden Read(string name)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(SourceTree.Root, "tests/fixtures/golden", $"{name}.json")));
        return new Golden(document.RootElement.Clone());
    }

    /// <summary>Reads six texts and their cosine matrix for each dimension.</summary>
    public (string[] Texts, IReadOnlyDictionary<int, double[][]> Cosine) Pairs()
    {
        JsonElement pairs = root.GetProperty("pairs");
        return (
            [.. pairs.GetProperty("texts").EnumerateArray().Select(text => text.GetString()!)],
            pairs.GetProperty("cosine").EnumerateObject().ToDictionary(
                dimension => int.Parse(dimension.Name),
                dimension => dimension.Value.Deserialize<double[][]>()!));
    }

    private static GoldenCase ReadCase(JsonElement row) => new(
        row.GetProperty("name").GetString()!,
        row.GetProperty("text").GetString()!,
        row.TryGetProperty("prompt", out JsonElement prompt) ? prompt.GetString()! : "none",
        row.GetProperty("token_ids").Deserialize<int[]>()!,
        row.TryGetProperty("token_count", out JsonElement count) ? count.GetInt32() : row.GetProperty("token_ids").GetArrayLength(),
        row.TryGetProperty("vectors", out JsonElement vectors)
            ? vectors.EnumerateObject().ToDictionary(vector => int.Parse(vector.Name), vector => ReadVector(vector.Value))
            : []);

    private static float[] ReadVector(JsonElement vector)
    {
        if (vector.ValueKind == JsonValueKind.Array)
        {
            return vector.Deserialize<float[]>()!;
        }

        byte[] bytes = vector.GetBytesFromBase64();
        return [.. Enumerable.Range(0, bytes.Length / 4).Select(i => BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(4 * i)))];
    }
}

/// <summary>Measures of the difference between a vector and its reference.</summary>
internal static class Vectors
{
    public static double Cosine(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double dot = 0, aa = 0, bb = 0;
        for (int i = 0; i < a.Length; i++)
        {
            dot += (double)a[i] * b[i];
            aa += (double)a[i] * a[i];
            bb += (double)b[i] * b[i];
        }

        return dot / Math.Sqrt(aa * bb);
    }

    public static double Distance(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        Assert.That(a.Length, Is.EqualTo(b.Length));
        double worst = 0;
        for (int i = 0; i < a.Length; i++)
        {
            worst = Math.Max(worst, Math.Abs((double)a[i] - b[i]));
        }

        return worst;
    }

    public static double Norm(ReadOnlySpan<float> a) => Math.Sqrt(a.ToArray().Sum(x => (double)x * x));
}
