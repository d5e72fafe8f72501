using System.Runtime.InteropServices;
using System.Text.Json;

namespace StellaInterop.Bench.Measuring;

/// <summary>A text with its token ids and, by dimension, the vectors that a float64 reference computed before normalization.</summary>
internal sealed record GoldenText(string Name, string Text, StellaPrompt Prompt, int[] Ids, IReadOnlyDictionary<int, float[]> Vectors)
{
    public Workload AsWorkload() => new(Name, [Text], [Ids], Prompt);

    /// <summary>Reads the texts of a golden file. The <c>format</c> field of the file describes its format.</summary>
    public static IReadOnlyList<GoldenText> Read(string file)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(file));
        return
        [
            .. document.RootElement.GetProperty("cases").EnumerateArray().Select(row => new GoldenText(
                row.GetProperty("name").GetString()!,
                row.GetProperty("text").GetString()!,
                row.GetProperty("prompt").GetString() is var prompt and not "none" ? StellaPrompt.FromName(prompt!) : StellaPrompt.Document,
                row.GetProperty("token_ids").Deserialize<int[]>()!,
                row.GetProperty("vectors").EnumerateObject().ToDictionary(
                    vector => int.Parse(vector.Name, System.Globalization.CultureInfo.InvariantCulture),
                    vector => ReadVector(vector.Value)))),
        ];
    }

    private static float[] ReadVector(JsonElement vector) => vector.ValueKind == JsonValueKind.Array
        ? vector.Deserialize<float[]>()!
        : MemoryMarshal.Cast<byte, float>(vector.GetBytesFromBase64()).ToArray();
}
