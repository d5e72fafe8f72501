using System.CommandLine;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Input;
using StellaInterop.Cli.Loading;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Output;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella tokenize</c>, which writes token ids as JSON.</summary>
internal static class TokenizeCommand
{
    public static Command Create()
    {
        var command = new Command(
            "tokenize",
            """
            Writes one JSON object per text, in order, with the token ids that the encoder would get:
            {"index":0,"ids":[101,...,102],"tokens":12,"total_tokens":12,"truncated":false}
            """);
        var texts = new TextArguments(command);
        EnumOption<RowFormat> format = JsonRowWriter.CreateFormatOption();
        command.Add(format.Option);
        var model = new ModelOptions(command);
        command.SetAction((parsed, cancellationToken) =>
        {
            StellaEmbedOptions options = texts.GetEmbedOptions(parsed);
            TextProgress.Show(parsed, progress =>
            {
                using LoadedModel loaded = model.Load(parsed, progress.WriteMessage);
                loaded.CheckPrompt(options.Prompt);
                using var rows = new JsonRowWriter(format.Get(parsed));
                Run(loaded.Model, texts.Read(parsed, cancellationToken), options, rows, progress.ReportDone, cancellationToken);
            });
            return Task.FromResult((int)ExitCode.Success);
        });
        return command;
    }

    private static void Run(
        StellaModel model,
        IEnumerable<InputText?> texts,
        StellaEmbedOptions options,
        JsonRowWriter rows,
        Action<int> reportDone,
        CancellationToken cancellationToken)
    {
        foreach (TextBatch batch in TextBatcher.Group(texts, options))
        {
            cancellationToken.ThrowIfCancellationRequested();
            TextBatcher.Run(batch, Write);
            rows.Flush();
            reportDone(batch.Options.FirstTextIndex + batch.Texts.Length);

            void Write(string[] group)
            {
                StellaTokens[] tokenized = model.Tokenize(group, batch.Options, cancellationToken);
                for (int i = 0; i < tokenized.Length; i++)
                {
                    int index = batch.Options.FirstTextIndex + i;
                    StellaTokens tokens = tokenized[i];
                    rows.Write(json =>
                    {
                        json.WriteNumber("index", index);
                        json.WriteStartArray("ids");
                        foreach (int id in tokens.Ids.Span)
                        {
                            json.WriteNumberValue(id);
                        }

                        json.WriteEndArray();
                        JsonRowWriter.WriteTokenCount(json, tokens.TokenCount);
                    });
                }
            }
        }

        rows.Complete();
    }
}
