using System.CommandLine;
using System.Globalization;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Loading;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Output;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella info</c>, which shows the properties of a model.</summary>
internal static class InfoCommand
{
    private enum Format
    {
        Text,
        Json,
    }

    public static Command Create()
    {
        var command = new Command("info", "Shows the properties of a model, such as its architecture, dimensions, size and memory estimate.");
        var format = new EnumOption<Format>(
            "--format", "text for people, json for programs.", ("text", Format.Text), ("json", Format.Json));
        command.Add(format.Option);
        var model = new ModelOptions(command);
        command.SetAction(parsed =>
        {
            using LoadedModel loaded = model.Load(parsed, ConsoleOutput.WriteMessage);
            if (format.Get(parsed) == Format.Json)
            {
                PrintJson(loaded.Model.Info, loaded.Model.GetFingerprint());
            }
            else
            {
                PrintText(loaded.Model.Info, loaded.Model.GetFingerprint());
            }

            return (int)ExitCode.Success;
        });
        return command;
    }

    private static void PrintText(StellaModelInfo info, string fingerprint)
    {
        // Plain lines, because a table would break a long path if the output is not a terminal.
        static void WriteRow(string name, string value) => ConsoleOutput.WriteResult($"{name,-16} {value}");
        WriteRow("name", info.Name);
        WriteRow("model", info.Path);
        WriteRow("fingerprint", fingerprint);
        WriteRow("architecture", info.Architecture.ToString());
        WriteRow("dimensions", $"{string.Join(", ", info.Dimensions)} (default {info.DefaultDimension})");
        WriteRow("hidden size", FormatNumber(info.HiddenSize));
        WriteRow("layers", FormatNumber(info.LayerCount));
        WriteRow("heads", FormatNumber(info.AttentionHeadCount));
        WriteRow("vocabulary", FormatNumber(info.VocabularySize));
        WriteRow("parameters", FormatNumber(info.ParameterCount));
        WriteRow("precision", GetPrecisionName(info));
        WriteRow("encoder", ToLower(info.Encoder.ToString()));
        WriteRow("instructions", ToLower(info.CpuLevel.ToString()));
        WriteRow("device", GetDeviceName(info));
        WriteRow("max tokens", FormatNumber(info.MaxTokens));
        WriteRow("pooling", GetPoolingName(info) + (info.IncludesPrompt ? "" : ", without the prompt"));
        foreach (StellaPromptInfo prompt in info.Prompts)
        {
            string notes = (prompt.Name == info.DefaultPrompt ? " (default)" : "") + (prompt.IsFromModelCard ? " (from the model card)" : "");
            WriteRow("prompt", $"{Printable.Line(prompt.Name)}{notes}: {Printable.Line(prompt.Text)}");
        }

        WriteRow("memory estimate", $"{FormatNumber(info.MemoryEstimateBytes >> 20)} MiB");
    }

    private static void PrintJson(StellaModelInfo info, string fingerprint)
    {
        using var rows = new JsonRowWriter(RowFormat.JsonLines);
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
            json.WriteString("precision", GetPrecisionName(info));
            json.WriteString("encoder", ToLower(info.Encoder.ToString()));
            json.WriteString("instructions", ToLower(info.CpuLevel.ToString()));
            json.WriteString("device", GetDeviceName(info));
            json.WriteNumber("max_tokens", info.MaxTokens);
            json.WriteString("pooling", GetPoolingName(info));
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

    // The names of --precision.
    private static string GetPrecisionName(StellaModelInfo info) => info.Precision switch
    {
        StellaPrecision.Float32 => "f32",
        StellaPrecision.BFloat16 => "bf16",
        _ => ToLower(info.Precision.ToString()),
    };

    private static string GetPoolingName(StellaModelInfo info) => info.PoolingMode switch
    {
        StellaPoolingMode.Cls => "first token",
        StellaPoolingMode.LastToken => "last token",
        _ => "mean",
    };

    private static string GetDeviceName(StellaModelInfo info) => ToLower(info.Device.ToString());

#pragma warning disable CA1308 // The output is lower case by contract. Nothing is compared.
    private static string ToLower(string name) => name.ToLowerInvariant();
#pragma warning restore CA1308

    private static string FormatNumber(long value) => value.ToString("N0", CultureInfo.InvariantCulture);
}
