using System.CommandLine;
using System.Text.Json;

namespace StellaInterop.Cli.Commands;

/// <summary><c>stella embed</c>: vectors as JSON.</summary>
internal static class EmbedCommand
{
    public static Command Create()
    {
        var command = new Command(
            "embed",
            """
            Writes one JSON object a text, in order:
            {"index":0,"tokens":12,"total_tokens":12,"truncated":false,"embedding":[...]}
            tokens counts the special tokens and the prompt; total_tokens is the count before a cut.

            --output-type makes vectors smaller. embedding then holds
              half     numbers of 16 bits
              int8     integers from -127 to 127; times "scale", which stands before them, they are the numbers
              binary   bytes of sign bits, 1 above zero, the first component in the highest bit; "dimension" counts them
            """);
        var texts = new TextArguments(command);
        Choice<RowFormat> format = JsonRows.FormatChoice();
        Option<bool> raw = RawOption();
        var form = new VectorForm(command);
        command.Add(format.Option);
        command.Add(raw);
        command.Validators.Add(result =>
        {
            if (result.GetValue(raw) && result.GetResult(form.Prefix) is not null)
            {
                result.AddError("--truncate-prefix scales vectors to length 1, which --raw forbids.");
            }
        });
        var model = new ModelArguments(command);
        command.SetAction((parsed, cancellationToken) =>
        {
            StellaEmbedOptions options = texts.Options(parsed) with { Normalize = !parsed.GetValue(raw) };
            TextBatches.WithProgress(parsed, progress =>
            {
                using LoadedModel loaded = model.Load(parsed, progress.Note);
                loaded.CheckPrompt(texts.Options(parsed).Prompt);
                using var rows = new JsonRows(format.Get(parsed));
                Run(loaded, texts.Read(parsed, cancellationToken), options, form.Read(parsed, loaded.Model.Info), rows, progress.Done, cancellationToken);
            });
            return Task.FromResult((int)ExitCode.Good);
        });
        return command;
    }

    public static Option<bool> RawOption() => new("--raw")
    {
        Description = "Leave vectors as the model gives them instead of scaling them to length 1.",
    };

    private static void Run(
        LoadedModel loaded,
        IEnumerable<InputText?> texts,
        StellaEmbedOptions options,
        VectorWriter writer,
        JsonRows rows,
        Action<int> report,
        CancellationToken cancellationToken)
    {
        int dimension = loaded.Model.Info.DefaultDimension;
        foreach (TextBatch batch in TextBatches.Collect(texts, options))
        {
            TextBatches.Run(batch, Write);
            rows.Flush();
            report(batch.Options.FirstTextIndex + batch.Texts.Length);

            void Write(string[] group)
            {
                float[] vectors = new float[group.Length * dimension];
                var counts = new StellaTokenCount[group.Length];
                loaded.Embed(group, vectors, counts, batch.Options, cancellationToken);
                for (int i = 0; i < group.Length; i++)
                {
                    var vector = vectors.AsMemory(i * dimension, dimension);
                    int index = batch.Options.FirstTextIndex + i;
                    StellaTokenCount count = counts[i];
                    rows.Write(json =>
                    {
                        json.WriteNumber("index", index);
                        WriteCount(json, count);
                        writer.Write(json, index, vector.Span);
                    });
                }
            }
        }

        rows.Complete();
    }

    public static void WriteCount(Utf8JsonWriter json, StellaTokenCount count)
    {
        json.WriteNumber("tokens", count.Kept);
        json.WriteNumber("total_tokens", count.Total);
        json.WriteBoolean("truncated", count.IsTruncated);
    }
}
