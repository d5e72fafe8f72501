using System.CommandLine;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Input;
using StellaInterop.Cli.Loading;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Output;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella embed</c>, which writes vectors as JSON.</summary>
internal static class EmbedCommand
{
    public static Command Create()
    {
        var command = new Command(
            "embed",
            """
            Writes one JSON object per text, in order:
            {"index":0,"tokens":12,"total_tokens":12,"truncated":false,"embedding":[...]}
            tokens includes the special tokens and the prompt; total_tokens is the number before truncation.

            --output-type makes vectors smaller. embedding then contains
              half     16-bit floating point numbers
              int8     integers from -127 to 127; multiply them by "scale", the property before embedding
              binary   bytes of sign bits, 1 for a number above zero, the first number in the highest bit of the first byte;
                       "dimension" is the number of bits
            """);
        var texts = new TextArguments(command);
        EnumOption<RowFormat> format = JsonRowWriter.CreateFormatOption();
        command.Add(format.Option);
        var vectors = new VectorOptions(command);
        var model = new ModelOptions(command);
        command.SetAction((parsed, cancellationToken) =>
        {
            StellaEmbedOptions options = texts.GetEmbedOptions(parsed) with { Normalize = !vectors.IsRaw(parsed) };
            TextProgress.Show(parsed, progress =>
            {
                using LoadedModel loaded = model.Load(parsed, progress.WriteMessage);
                loaded.CheckPrompt(options.Prompt);
                using var rows = new JsonRowWriter(format.Get(parsed));
                VectorWriter writer = vectors.CreateWriter(parsed, loaded.Model.Info);
                Run(loaded, texts.Read(parsed, cancellationToken), options, writer, rows, progress.ReportDone, cancellationToken);
            });
            return Task.FromResult((int)ExitCode.Success);
        });
        return command;
    }

    private static void Run(
        LoadedModel loaded,
        IEnumerable<InputText?> texts,
        StellaEmbedOptions options,
        VectorWriter writer,
        JsonRowWriter rows,
        Action<int> reportDone,
        CancellationToken cancellationToken)
    {
        int dimension = loaded.Model.Info.DefaultDimension;
        foreach (TextBatch batch in TextBatcher.Group(texts, options))
        {
            TextBatcher.Run(batch, Write);
            rows.Flush();
            reportDone(batch.Options.FirstTextIndex + batch.Texts.Length);

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
                        JsonRowWriter.WriteTokenCount(json, count);
                        writer.Write(json, index, vector.Span);
                    });
                }
            }
        }

        rows.Complete();
    }
}
