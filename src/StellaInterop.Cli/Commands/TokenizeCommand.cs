using System.CommandLine;

namespace StellaInterop.Cli.Commands;

/// <summary><c>stella tokenize</c>: token ids as JSON.</summary>
internal static class TokenizeCommand
{
    public static Command Create()
    {
        var command = new Command(
            "tokenize",
            """
            Writes one JSON object a text, in order, with the ids that the encoder would see:
            {"index":0,"ids":[101,...,102],"tokens":12,"total_tokens":12,"truncated":false}
            """);
        var texts = new TextArguments(command);
        Choice<RowFormat> format = JsonRows.FormatChoice();
        command.Add(format.Option);
        var model = new ModelArguments(command);
        command.SetAction((parsed, cancellationToken) =>
        {
            TextBatches.WithProgress(parsed, progress =>
            {
                using LoadedModel loaded = model.Load(parsed, progress.Note);
                loaded.CheckPrompt(texts.Options(parsed).Prompt);
                using var rows = new JsonRows(format.Get(parsed));
                Run(loaded.Model, texts.Read(parsed, cancellationToken), texts.Options(parsed), rows, progress.Done, cancellationToken);
            });
            return Task.FromResult((int)ExitCode.Good);
        });
        return command;
    }

    private static void Run(
        StellaModel model,
        IEnumerable<InputText?> texts,
        StellaEmbedOptions options,
        JsonRows rows,
        Action<int> report,
        CancellationToken cancellationToken)
    {
        foreach (TextBatch batch in TextBatches.Collect(texts, options))
        {
            cancellationToken.ThrowIfCancellationRequested();
            TextBatches.Run(batch, Write);
            rows.Flush();
            report(batch.Options.FirstTextIndex + batch.Texts.Length);

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
                        EmbedCommand.WriteCount(json, tokens.TokenCount);
                    });
                }
            }
        }

        rows.Complete();
    }
}
