using System.Runtime.ExceptionServices;
using StellaInterop.Cli.Errors;

namespace StellaInterop.Cli.Input;

/// <summary>Represents consecutive texts with the same prompt, for one call of the library.</summary>
/// <param name="Texts">The texts.</param>
/// <param name="Lines">The line of each text in the input; 0 for texts of the command line.</param>
/// <param name="Options">The options of the call.</param>
internal sealed record TextBatch(string[] Texts, long[] Lines, StellaEmbedOptions Options);

/// <summary>Groups texts into batches and runs the batches.</summary>
internal static class TextBatcher
{
    /// <summary>
    /// The maximum number of texts of a batch: enough for the library to fill its packed batches, and few enough to write rows
    /// early.
    /// </summary>
    private const int MaxTexts = 256;

    /// <summary>The number of characters at which a batch is full, to bound its memory. The last text may exceed it.</summary>
    private const int MaxCharacters = 4 << 20;

    /// <summary>
    /// Groups texts into batches, in order. A batch ends if the next text has not arrived yet, so that no row waits for input. If
    /// reading the texts fails, the batch before the error is returned first.
    /// </summary>
    /// <param name="texts">The texts, and <see langword="null"/> each time the next text has not arrived yet.</param>
    /// <param name="options">The options of the calls. The prompt and the first index are set for each batch.</param>
    public static IEnumerable<TextBatch> Group(IEnumerable<InputText?> texts, StellaEmbedOptions options)
    {
        using IEnumerator<InputText?> source = texts.GetEnumerator();
        var batch = new List<InputText>(MaxTexts);
        int firstIndex = 0, characters = 0;
        ExceptionDispatchInfo? error = null;
        bool hasMore = true;
        while (hasMore)
        {
            try
            {
                hasMore = source.MoveNext();
            }
            catch (CliException e)
            {
                error = ExceptionDispatchInfo.Capture(e);
                hasMore = false;
            }

            InputText? text = hasMore ? source.Current : null;
            bool isFull = batch.Count == MaxTexts || characters >= MaxCharacters || text?.Prompt != (batch.Count > 0 ? batch[0].Prompt : null);
            if (batch.Count > 0 && isFull)
            {
                yield return new TextBatch(
                    [.. batch.Select(member => member.Text)],
                    [.. batch.Select(member => member.Line)],
                    options with { Prompt = batch[0].Prompt, FirstTextIndex = firstIndex });
                firstIndex += batch.Count;
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

    /// <summary>
    /// Runs a batch. If a text fails, the texts before it are run, and the error names the line of the failed text.
    /// </summary>
    /// <param name="batch">The batch.</param>
    /// <param name="work">Computes and writes the rows of the given first texts of the batch.</param>
    public static void Run(TextBatch batch, Action<string[]> work)
    {
        try
        {
            work(batch.Texts);
        }
        catch (Exception e) when (FindTextError(e)?.TextIndex - batch.Options.FirstTextIndex is { } at && at >= 0 && at < batch.Texts.Length)
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
            // The prompt is that of a row, because the prompt of the command line was checked before.
            throw new CliException(
                ExitCode.BadInput, $"Line {batch.Lines[0]}: Text {batch.Options.FirstTextIndex}: {e.Message}", e.InnerException);
        }
    }

    /// <summary>Returns the error of a text, which may be the cause of an error that names the model.</summary>
    private static StellaInputException? FindTextError(Exception e) =>
        e as StellaInputException ?? (e as CliException)?.InnerException as StellaInputException;
}
