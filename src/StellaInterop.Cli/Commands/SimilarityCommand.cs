using System.CommandLine;
using System.Globalization;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Input;
using StellaInterop.Cli.Loading;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Output;
using StellaInterop.Cli.Terminal;
using StellaInterop.Vectors;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella similarity</c>, which ranks texts by their similarity to a query.</summary>
internal static class SimilarityCommand
{
    /// <summary>The names of the prompt that both the query and the texts get.</summary>
    private static readonly string[] SentencePrompts = ["s2s", "s2s_query"];

    private enum Format
    {
        Text,
        JsonLines,
        Json,
    }

    public static Command Create()
    {
        var command = new Command(
            "similarity",
            """
            Ranks texts by their similarity to a query, best first. The score is the cosine, 1 for the same direction;
            with --raw it is the dot product.
            """);
        var query = new Argument<string>("QUERY") { Description = "Text that the other texts are compared with." };
        var texts = new Argument<string[]>("TEXT")
        {
            Description = "Texts to rank. Put texts that start with a dash after --.",
            Arity = ArgumentArity.OneOrMore,
        };
        var format = new EnumOption<Format>(
            "--format",
            "text for people, jsonl or json for programs.",
            ("text", Format.Text),
            ("jsonl", Format.JsonLines),
            ("json", Format.Json));
        Option<string?> prompt = TextArguments.CreatePromptOption(
            "Name of the prompt of the query; `stella info` lists the prompts. With s2s, the texts get the same prompt. With any other "
            + "prompt, the texts are documents, which have no prompt unless the model has one named document. "
            + "Default: s2s, or the default of the model if it has no s2s.");
        EnumOption<StellaLongTextBehavior> onLongText = TextArguments.CreateLongTextOption();
        Option<bool> raw = VectorOptions.CreateRawOption();
        command.Add(query);
        command.Add(texts);
        command.Add(format.Option);
        command.Add(prompt);
        command.Add(onLongText.Option);
        command.Add(raw);
        var model = new ModelOptions(command);
        command.SetAction((parsed, cancellationToken) =>
        {
            using LoadedModel loaded = model.Load(parsed, ConsoleOutput.WriteMessage);
            var options = new StellaEmbedOptions
            {
                Prompt = parsed.GetValue(prompt) is { } name ? StellaPrompt.FromName(name) : GetDefaultPrompt(loaded.Model.Info),
                LongTextBehavior = onLongText.Get(parsed),
                Normalize = !parsed.GetValue(raw),
            };
            string[] candidates = parsed.GetRequiredValue(texts);
            float[] scores = Score(loaded, parsed.GetRequiredValue(query), candidates, options, cancellationToken);
            int[] order = new int[scores.Length];
            Similarity.TopK<float>(scores, order);
            Print(format.Get(parsed), candidates, scores, order);
            return Task.FromResult((int)ExitCode.Success);
        });
        return command;
    }

    private static StellaPrompt GetDefaultPrompt(StellaModelInfo info) =>
        info.Prompts.Any(prompt => SentencePrompts.Contains(prompt.Name)) ? StellaPrompt.SentenceSimilarity : StellaPrompt.Default;

    private static float[] Score(
        LoadedModel loaded, string query, string[] texts, StellaEmbedOptions options, CancellationToken cancellationToken)
    {
        // With any other prompt, including the default of the model, the texts are documents.
        StellaPrompt textPrompt = SentencePrompts.Contains(options.Prompt.Name, StringComparer.OrdinalIgnoreCase)
            ? options.Prompt
            : StellaPrompt.Document;
        TextArguments.ThrowIfReplaced(query, "the query");
        for (int i = 0; i < texts.Length; i++)
        {
            TextArguments.ThrowIfReplaced(texts[i], $"text {i}");
        }

        var (queryVector, queryCounts) = Embed(loaded, [query], options, cancellationToken);
        var (vectors, counts) = Embed(loaded, texts, options with { Prompt = textPrompt }, cancellationToken);
        WarnIfTruncated("The query", queryCounts[0]);
        for (int i = 0; i < counts.Length; i++)
        {
            WarnIfTruncated($"Text {i}", counts[i]);
        }

        float[] scores = new float[texts.Length];
        Similarity.DotRows(queryVector, vectors, scores);
        return scores;
    }

    private static void WarnIfTruncated(string name, StellaTokenCount count)
    {
        if (count.IsTruncated)
        {
            ConsoleOutput.WriteMessage($"warning: {name} was truncated from {count.Total} to {count.Kept} tokens.");
        }
    }

    private static (float[] Vectors, StellaTokenCount[] Counts) Embed(
        LoadedModel loaded, string[] texts, StellaEmbedOptions options, CancellationToken cancellationToken)
    {
        float[] vectors = new float[texts.Length * loaded.Model.Info.DefaultDimension];
        var counts = new StellaTokenCount[texts.Length];
        loaded.Embed(texts, vectors, counts, options, cancellationToken);
        return (vectors, counts);
    }

    private static void Print(Format format, string[] texts, float[] scores, int[] order)
    {
        if (format == Format.Text)
        {
            foreach (int i in order)
            {
                ConsoleOutput.WriteResult(string.Create(CultureInfo.InvariantCulture, $"{scores[i],7:F4}  {texts[i].ReplaceLineEndings(" ")}"));
            }

            return;
        }

        using var rows = new JsonRowWriter(format == Format.Json ? RowFormat.Json : RowFormat.JsonLines);
        foreach (int i in order)
        {
            rows.Write(json =>
            {
                json.WriteNumber("index", i);
                json.WriteNumber("score", scores[i]);
                json.WriteString("text", texts[i]);
            });
        }

        rows.Complete();
    }
}
