using System.CommandLine;
using Spectre.Console;

namespace StellaInterop.Cli;

/// <summary>Texts in groups that one call of the library takes, with the progress shown meanwhile.</summary>
internal static class TextBatches
{
    /// <summary>Enough for the library to fill its own batches, few enough for rows to come while a long input runs.</summary>
    private const int TextsPerBatch = 256;

    /// <summary>Neighbours of one prompt, in order.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="options">Options of the call; prompt and first index are set for each group.</param>
    public static IEnumerable<(string[] Texts, StellaEmbedOptions Options)> Group(
        IEnumerable<InputText> texts, StellaEmbedOptions options)
    {
        var group = new List<string>(TextsPerBatch);
        int first = 0;
        StellaPrompt prompt = options.Prompt;
        foreach (InputText text in texts)
        {
            if (group.Count > 0 && (group.Count == TextsPerBatch || text.Prompt != prompt))
            {
                yield return ([.. group], options with { Prompt = prompt, FirstTextIndex = first });
                first += group.Count;
                group.Clear();
            }

            prompt = text.Prompt;
            group.Add(text.Text);
        }

        if (group.Count > 0)
        {
            yield return ([.. group], options with { Prompt = prompt, FirstTextIndex = first });
        }
    }

    /// <summary>Runs a group. A prompt that the model lacks comes from the row: the prompt of the command line was checked before.</summary>
    /// <param name="group">Options of the group.</param>
    /// <param name="work">Runs it.</param>
    public static void Run(StellaEmbedOptions group, Action work)
    {
        try
        {
            work();
        }
        catch (StellaOptionException e) when (e.Code == StellaErrorCode.UnknownPrompt)
        {
            throw new CliException(ExitCode.BadInput, $"text {group.FirstTextIndex}: {e.Message}", e.InnerException);
        }
    }

    /// <summary>
    /// Runs <paramref name="work"/>, which reports how many texts are done. The number is shown if somebody sees it:
    /// when standard error is a terminal and the rows go elsewhere.
    /// </summary>
    public static void WithProgress(ParseResult parsed, Action<BatchProgress> work)
    {
        bool shown = ModelArguments.Verbosity.Get(parsed) != Verbosity.Quiet
            && Console.IsOutputRedirected
            && !Console.IsErrorRedirected;
        if (!shown)
        {
            work(new BatchProgress(_ => { }, Output.Note));
            return;
        }

        IAnsiConsole console = ErrorConsole.Create();
        console.Status().Start("loading the model", status => work(new BatchProgress(
            done => status.Status($"{done:N0} texts"),
            // The bar is painted on the same line: only its own console writes above it.
            line => console.WriteLine(Printable.Line(line)))));
    }
}

/// <summary>Reports of a command over many texts while it runs.</summary>
/// <param name="Done">Receives the number of texts that are done.</param>
/// <param name="Note">Writes a line on standard error.</param>
internal sealed record BatchProgress(Action<int> Done, Action<string> Note);
