using System.Globalization;
using StellaInterop.Bulk.Commit;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Names the settings of a plan. Their names are in the manifest, and in the message about differences.</summary>
internal static class JobSettings
{
    /// <summary>The name of the setting with the dimensions, which has a comma between them.</summary>
    public const string Dimension = "dimension";

    public static IReadOnlyList<KeyValuePair<string, string>> Of(
        StellaBulkOptions options, EmbedderInfo model, Safeguards safeguards = Safeguards.All)
    {
        var settings = new List<KeyValuePair<string, string>>();
        for (int i = 0; i < model.Dimensions.Count && safeguards.HasFlag(Safeguards.Fingerprint); i++)
        {
            Add($"model_fingerprint_{Text(model.Dimensions[i])}", model.Fingerprints[i]);
        }

        Add("precision", model.Precision switch
        {
            StellaPrecision.Float32 => "f32",
            StellaPrecision.BFloat16 => "bf16",
            StellaPrecision.Int8 => "int8",
            _ => "auto",
        });
        Add(Dimension, string.Join(',', model.Dimensions.Select(dimension => Text(dimension))));
        Add("max_tokens", Text(model.MaxTokens));
        Add("prompt", options.Prompt.Name ?? "");
        Add("on_long_text", options.LongTextBehavior switch
        {
            StellaLongTextBehavior.Truncate => "truncate",
            _ => "error",
        });
        Add("normalize", options.Normalize ? "true" : "false");
        Add("format", options.Format switch
        {
            StellaBulkFormat.Parquet => "parquet",
            StellaBulkFormat.JsonLines => "jsonl",
            _ => "npy",
        });
        Add("output_type", options.VectorType switch
        {
            StellaBulkVectorType.Float32 => "float",
            StellaBulkVectorType.Half => "half",
            StellaBulkVectorType.Int8 => "int8",
            _ => "binary",
        });
        if (options.InputFormat != StellaBulkInputFormat.Auto)
        {
            Add("input_format", options.InputFormat switch
            {
                StellaBulkInputFormat.JsonLines => "jsonl",
                StellaBulkInputFormat.Csv => "csv",
                StellaBulkInputFormat.Tsv => "tsv",
                StellaBulkInputFormat.Parquet => "parquet",
                _ => "text",
            });
        }

        Add("text", options.TextColumn);
        Add("id", options.IdColumn ?? "");
        Add("chunk_tokens", Text(options.ChunkTokens));
        return settings;

        void Add(string name, string value) => settings.Add(KeyValuePair.Create(name, value));
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
