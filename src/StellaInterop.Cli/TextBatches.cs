using System.CommandLine;
using System.Runtime.ExceptionServices;
using Spectre.Console;

namespace StellaInterop.Cli;

/// <summary>Neighbours of one prompt, for one call of the library.</summary>
/// <param name="Texts">The texts.</param>
/// <param name="Lines">The lines of the input that they come from.</param>
/// <param name="Options">Options of the call.</param>
internal sealed record TextBatch(string[] Texts, long[] Lines, StellaEmbedOptions Options);

/// <summary>Texts in batches, with the progress shown meanwhile.</summary>
internal static class TextBatches
{
    /// <summary>Enough for the library to fill its own batches, few enough for rows to come while a long input runs.</summary>
    private const int MaxTexts = 256;

    /// <summary>Characters after which a batch is full, so that long texts do not add up. It may exceed this by one text.</summary>
    private const int MaxCharacters = 4 << 20;

    /// <summary>
    /// Collects texts, in order. A batch ends when no further text has arrived, so that no row waits for input. If the texts end
    /// in an error, the batch before it comes first.
    /// </summary>
    /// <param name="texts">The texts, and <see langword="null"/> whenever the next has not arrived yet.</param>
    /// <param name="options">Options of the call; prompt and first index are set for each batch.</param>
    public static IEnumerable<TextBatch> Collect(IEnumerable<InputText?> texts, StellaEmbedOptions options)
    {
        using IEnumerator<InputText?> source = texts.GetEnumerator();
        var batch = new List<InputText>(MaxTexts);
        int first = 0, characters = 0;
        ExceptionDispatchInfo? error = null;
        bool isMore = true;
        while (isMore)
        {
            try
            {
                isMore = source.MoveNext();
            }
            catch (CliException e)
            {
                error = ExceptionDispatchInfo.Capture(e);
                isMore = false;
            }

            InputText? text = isMore ? source.Current : null;
            bool isFull = batch.Count == MaxTexts || characters >= MaxCharacters || text?.Prompt != (batch.Count > 0 ? batch[0].Prompt : null);
            if (batch.Count > 0 && isFull)
            {
                yield return new TextBatch(
                    [.. batch.Select(member => member.Text)],
                    [.. batch.Select(member => member.Line)],
                    options with { Prompt = batch[0].Prompt, FirstTextIndex = first });
                first += batch.Count;
                characters = 0;
                batch.Clear();
            }

            if (text is { } next)
            {
                batch.Add(next);
                characters += next.Text.Length;
            }
        }

        error?.Throw();
    }

    /// <summary>Runs a batch. If a text of it is at fault, the texts before it are run and the error names its line.</summary>
    /// <param name="batch">The batch.</param>
    /// <param name="work">Computes and writes the rows of texts from the beginning of the batch.</param>
    public static void Run(TextBatch batch, Action<string[]> work)
    {
        try
        {
            work(batch.Texts);
        }
        catch (Exception e) when (FaultOf(e)?.TextIndex - batch.Options.FirstTextIndex is { } at && at >= 0 && at < batch.Texts.Length)
        {
            if (at > 0)
            {
                work(batch.Texts[..at]);
            }

            throw e is StellaInputException && batch.Lines[at] > 0
                ? new CliException(ExitCode.BadInput, $"Line {batch.Lines[at]}: {e.Message}", e.InnerException)
                : e;
        }
        catch (StellaOptionException e) when (e.Code == StellaErrorCode.UnknownPrompt)
        {
            // The prompt comes from the row: that of the command line was checked before.
            throw new CliException(
                ExitCode.BadInput, $"Line {batch.Lines[0]}: text {batch.Options.FirstTextIndex}: {e.Message}", e.InnerException);
        }
    }

    /// <summary>Returns the error of a text, which may be behind one that blames the model.</summary>
    private static StellaInputException? FaultOf(Exception e) =>
        e as StellaInputException ?? (e as CliException)?.InnerException as StellaInputException;

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
