using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>A test case of a folder form: one text with its expected token ids and vectors.</summary>
internal sealed record FormCase(
    string Name,
    string Text,
    string? PromptName,
    int? MaxTokens,
    int[] Ids,
    int TotalTokens,
    IReadOnlyDictionary<int, float[]> Vectors)
{
    public StellaPrompt Prompt => PromptName is null ? StellaPrompt.Default : StellaPrompt.FromName(PromptName);
}

/// <summary>The golden file of a folder form. Its <c>format</c> field describes the other fields.</summary>
internal sealed class FormGolden
{
    private static readonly string FormsRoot = Path.Combine(SourceTree.Root, SystemPath.Of("tests/fixtures/forms"));

    private readonly JsonElement root;

    private FormGolden(string folder, JsonElement root)
    {
        this.root = root;
        Folder = folder;
        Cases = [.. root.GetProperty("cases").EnumerateArray().Select(ReadCase)];
    }

    public static string[] Forms =>
        [.. Directory.EnumerateFiles(Path.Combine(FormsRoot, "golden")).Select(path => Path.GetFileNameWithoutExtension(path)!).Order()];

    public string Folder { get; }

    public IReadOnlyList<FormCase> Cases { get; }

    public int MaxTokens => root.GetProperty("max_tokens").GetInt32();

    public int[] Dimensions => root.GetProperty("dimensions").Deserialize<int[]>()!;

    public StellaPoolingMode Pooling => root.GetProperty("pooling").GetString() switch
    {
        "mean" => StellaPoolingMode.Mean,
        "cls" => StellaPoolingMode.Cls,
        "lasttoken" => StellaPoolingMode.LastToken,
        var other => throw new InvalidDataException($"pooling {other}"),
    };

    public bool IncludesPrompt => root.GetProperty("include_prompt").GetBoolean();

    public string? DefaultPrompt => root.GetProperty("default_prompt").GetString();

    public Dictionary<string, string> Prompts => root.GetProperty("prompts").Deserialize<Dictionary<string, string>>()!;

    public static FormGolden Read(string name)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(FormsRoot, "golden", $"{name}.json")));
        return new FormGolden(Path.Combine(FormsRoot, "models", name), document.RootElement.Clone());
    }

    private static FormCase ReadCase(JsonElement row) => new(
        row.GetProperty("name").GetString()!,
        row.GetProperty("text").GetString()!,
        row.GetProperty("prompt").GetString(),
        row.TryGetProperty("max_tokens", out JsonElement limit) ? limit.GetInt32() : null,
        row.GetProperty("token_ids").Deserialize<int[]>()!,
        row.GetProperty("token_count").GetInt32(),
        row.GetProperty("vectors").EnumerateObject().ToDictionary(
            vector => int.Parse(vector.Name), vector => vector.Value.Deserialize<float[]>()!));
}
