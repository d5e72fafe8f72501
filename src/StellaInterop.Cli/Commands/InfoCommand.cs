using System.CommandLine;
using System.Globalization;

namespace StellaInterop.Cli.Commands;

/// <summary><c>stella info</c>: what a model is.</summary>
internal static class InfoCommand
{
    private enum Format
    {
        Text,
        Json,
    }

    public static Command Create()
    {
        var command = new Command("info", "Shows what a model is: architecture, dimensions, size, and the memory that it takes.");
        var format = new Choice<Format>(
            "--format", "text for people, json for programs.", ("text", Format.Text), ("json", Format.Json));
        command.Add(format.Option);
        var model = new ModelArguments(command);
        command.SetAction(parsed =>
        {
            using LoadedModel loaded = model.Load(parsed, Output.Note);
            if (format.Get(parsed) == Format.Json)
            {
                PrintJson(loaded.Model.Info, loaded.Model.GetFingerprint());
            }
            else
            {
                PrintText(loaded.Model.Info, loaded.Model.GetFingerprint());
            }

            return (int)ExitCode.Good;
        });
        return command;
    }

    private static void PrintText(StellaModelInfo info, string fingerprint)
    {
        // Plain lines: a table would break a long path where the output is no terminal.
        static void Row(string name, string value) => Output.Result($"{name,-16} {value}");
        Row("name", info.Name);
        Row("model", info.Path);
        Row("fingerprint", fingerprint);
        Row("architecture", info.Architecture.ToString());
        Row("dimensions", $"{string.Join(", ", info.Dimensions)} (default {info.DefaultDimension})");
        Row("hidden size", Number(info.HiddenSize));
        Row("layers", Number(info.LayerCount));
        Row("heads", Number(info.AttentionHeadCount));
        Row("vocabulary", Number(info.VocabularySize));
        Row("parameters", Number(info.ParameterCount));
        Row("precision", PrecisionName(info));
        Row("encoder", Lower(info.Encoder.ToString()));
        Row("instructions", Lower(info.CpuLevel.ToString()));
        Row("device", DeviceName(info));
        Row("max tokens", Number(info.MaxTokens));
        Row("pooling", PoolingName(info) + (info.IncludesPrompt ? "" : ", without the prompt"));
        foreach (StellaPromptInfo prompt in info.Prompts)
        {
            string notes = (prompt.Name == info.DefaultPrompt ? " (default)" : "") + (prompt.IsFromModelCard ? " (from the model card)" : "");
            Row("prompt", $"{Printable.Line(prompt.Name)}{notes}: {Printable.Line(prompt.Text)}");
        }

        Row("memory estimate", $"{Number(info.MemoryEstimateBytes >> 20)} MiB");
    }

    private static void PrintJson(StellaModelInfo info, string fingerprint)
    {
        using var rows = new JsonRows(RowFormat.JsonLines);
        rows.Write(json =>
        {
            json.WriteString("name", info.Name);
            json.WriteString("model", info.Path);
            json.WriteString("fingerprint", fingerprint);
            json.WriteString("architecture", info.Architecture.ToString());
            json.WriteStartArray("dimensions");
            foreach (int dimension in info.Dimensions)
            {
                json.WriteNumberValue(dimension);
            }

            json.WriteEndArray();
            json.WriteNumber("default_dimension", info.DefaultDimension);
            json.WriteNumber("hidden_size", info.HiddenSize);
            json.WriteNumber("layers", info.LayerCount);
            json.WriteNumber("heads", info.AttentionHeadCount);
            json.WriteNumber("vocabulary_size", info.VocabularySize);
            json.WriteNumber("parameters", info.ParameterCount);
            json.WriteString("precision", PrecisionName(info));
            json.WriteString("encoder", Lower(info.Encoder.ToString()));
            json.WriteString("instructions", Lower(info.CpuLevel.ToString()));
            json.WriteString("device", DeviceName(info));
            json.WriteNumber("max_tokens", info.MaxTokens);
            json.WriteString("pooling", PoolingName(info));
            json.WriteBoolean("includes_prompt", info.IncludesPrompt);
            json.WriteString("default_prompt", info.DefaultPrompt);
            json.WriteStartArray("prompts");
            foreach (StellaPromptInfo prompt in info.Prompts)
            {
                json.WriteStartObject();
                json.WriteString("name", prompt.Name);
                json.WriteString("text", prompt.Text);
                json.WriteNumber("tokens", prompt.TokenCount);
                json.WriteBoolean("from_model_card", prompt.IsFromModelCard);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteNumber("memory_estimate_bytes", info.MemoryEstimateBytes);
        });
        rows.Complete();
    }

    // As on the command line.
    private static string PrecisionName(StellaModelInfo info) => info.Precision switch
    {
        StellaPrecision.Float32 => "f32",
        StellaPrecision.BFloat16 => "bf16",
        _ => Lower(info.Precision.ToString()),
    };

    private static string PoolingName(StellaModelInfo info) => info.PoolingMode switch
    {
        StellaPoolingMode.Cls => "first token",
        StellaPoolingMode.LastToken => "last token",
        _ => "mean",
    };

    private static string DeviceName(StellaModelInfo info) => Lower(info.Device.ToString());

#pragma warning disable CA1308 // The names are lower case by contract, not for comparison.
    private static string Lower(string name) => name.ToLowerInvariant();
#pragma warning restore CA1308

    private static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);
}
