using System.Globalization;
using System.Text.Json;
using Spectre.Console;
using StellaInterop.Bulk;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Output;
using StellaInterop.Cli.Streams;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Jobs;

/// <summary>
/// Reports a bulk job: a bar if standard error is a terminal, otherwise a line each few seconds, or JSON on standard output. Thread-safe.
/// </summary>
internal sealed class BulkReport : IProgress<StellaBulkProgress>, IAsyncDisposable
{
    /// <summary>The time from one line to the next.</summary>
    private static readonly TimeSpan LineInterval = TimeSpan.FromSeconds(5);

    private readonly Lock gate = new();
    private readonly Action<StellaBulkProgress> show;
    private readonly JsonRowWriter? json;
    private readonly TaskCompletionSource end = new();
    private readonly Task painting = Task.CompletedTask;
    private readonly TimeSpan interval = TimeSpan.Zero;
    private StellaBulkPhase? lastPhase;
    private long lastShown;

    public BulkReport(BulkSettings settings)
    {
        WriteMessage = ConsoleOutput.WriteMessage;
        show = _ => { };
        if (settings.HasJsonProgress)
        {
            json = new JsonRowWriter(RowFormat.JsonLines);
            show = WriteJson;
            interval = LineInterval;
        }
        else if (!settings.IsQuiet && Console.IsErrorRedirected)
        {
            show = WriteLine;
            interval = LineInterval;
        }
        else if (!settings.IsQuiet)
        {
            IAnsiConsole console = ErrorConsole.Create();
            var shown = new TaskCompletionSource<ProgressTask>();
            painting = console.Progress()
                .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn())
                .StartAsync(context =>
                {
                    shown.SetResult(context.AddTask("loading the model", maxValue: 1));
                    return end.Task;
                });
            WriteMessage = line => console.WriteLine(Printable.Line(line));
            show = progress =>
            {
                if (shown.Task.IsCompletedSuccessfully)
                {
                    ProgressTask bar = shown.Task.Result;
                    bar.Description = Markup.Escape(Describe(progress));
                    bar.Value = progress.CompletedShare;
                }
            };
        }
    }

    /// <summary>Gets the function that writes a line to standard error, above a bar.</summary>
    public Action<string> WriteMessage { get; }

    public void Report(StellaBulkProgress value)
    {
        lock (gate)
        {
            long now = Environment.TickCount64;
            if (value.Phase == lastPhase && now - lastShown < interval.TotalMilliseconds)
            {
                return;
            }

            (lastPhase, lastShown) = (value.Phase, now);
            Guarded(() => show(value));
        }
    }

    /// <summary>Writes the plan of a dry run to standard output.</summary>
    public void WritePlan(StellaBulkPlan plan, StellaBulkOptions options)
    {
        // Without its reader, a plan is for nobody, so an error ends the command.
        StopPainting();
        if (json is not null)
        {
            json.Write(row =>
            {
                row.WriteString("event", "plan");
                row.WriteString("plan", plan.Hash);
                row.WriteNumber("files", plan.FileCount);
                row.WriteNumber("input_bytes", plan.ByteCount);
                row.WriteNumber("rows", plan.RowCount);
                row.WriteNumber("estimated_tokens", plan.EstimatedTokenCount);
                row.WriteNumber("chunks", plan.ChunkCount);
                row.WriteNumber("chunks_done", plan.CommittedChunkCount);
                WriteSeconds(row, "estimated_seconds", plan.EstimatedTime);
                row.WriteNumber("vector_bytes", plan.EstimatedVectorBytes);
            });
            json.Complete();
            return;
        }

        Write($"Plan {plan.Hash[..8]}: {plan.FileCount:N0} files with {Bytes(plan.ByteCount)}, {plan.RowCount:N0} rows, about {plan.EstimatedTokenCount:N0} tokens.");
        foreach ((string name, string value) in plan.Settings)
        {
            Write($"  {name}: {value}");
        }

        Write($"Parts: {plan.ChunkCount:N0}, of which {plan.CommittedChunkCount:N0} are there already.");
        Write($"Time: {(plan.EstimatedTime is { } time ? $"about {Time(time)} on this machine, by a short measurement" : "nothing is left to measure")}.");
        Write($"Output: {Bytes(plan.EstimatedVectorBytes)} of vectors, before the compression of Parquet.");
        foreach (int dimension in plan.Dimensions)
        {
            Write($"Index of dimension {dimension}: {IndexLimits.Describe(dimension, options.VectorType)}");
        }

        Write($"Nothing was written to {options.Output}.");
    }

    /// <summary>Writes the result to standard output.</summary>
    /// <param name="result">The result.</param>
    /// <param name="output">The output folder.</param>
    /// <param name="ending">The last sentence; <see langword="null"/> for the parts that this run made.</param>
    public void WriteResult(StellaBulkResult result, string output, string? ending = null)
    {
        StopPainting();
        Guarded(() => WriteEnd(result, output, ending));
    }

    private void WriteEnd(StellaBulkResult result, string output, string? ending)
    {
        if (json is not null)
        {
            json.Write(row =>
            {
                row.WriteString("event", "end");
                row.WriteBoolean("complete", result.IsComplete);
                row.WriteNumber("chunks", result.ChunkCount);
                row.WriteNumber("chunks_open", result.OpenChunkCount);
                row.WriteNumber("chunks_of_this_run", result.CommittedChunkCount);
                WriteNumber(row, "rows", result.RowCount);
                WriteNumber(row, "tokens", result.TokenCount);
                WriteNumber(row, "truncated", result.TruncatedRowCount);
                row.WriteNumber("errors", result.ErrorCount);
                row.WriteNumber("duplicates", result.DuplicateCount);
                WriteSeconds(row, "seconds", result.Elapsed);
            });
            json.Complete();
            return;
        }

        string own = ending ?? Text($"This run made {result.CommittedChunkCount:N0} of {result.ChunkCount:N0} parts in {Time(result.Elapsed)}.");
        string duplicates = result.DuplicateCount > 0 ? Text($" It had {result.DuplicateCount:N0} texts already.") : "";
        string errors = result.ErrorCount > 0 ? Text($" {result.ErrorCount:N0} rows are at fault; {output}/_errors has them with the reasons.") : "";
        string state = result.IsComplete
            ? Text($"{output} is complete: {result.RowCount:N0} rows, {result.TokenCount:N0} tokens, {result.TruncatedRowCount:N0} texts truncated.")
            : Text($"{output} is not complete: other shards have {result.OpenChunkCount:N0} parts to make.");
        ConsoleOutput.WriteResult($"{state}{errors} {own}{duplicates}");
    }

    public async ValueTask DisposeAsync()
    {
        StopPainting();
        await painting.ConfigureAwait(false);
        Guarded(() => json?.Dispose());
    }

    /// <summary>Writes lines. A reader that has left does not end a job whose result is a folder.</summary>
    private static void Guarded(Action lines)
    {
        try
        {
            lines();
        }
        catch (BrokenPipeException)
        {
            // Nobody reads the lines any more.
        }
        catch (CliException e)
        {
            // The exit code of standard output has another meaning here.
            throw new CliException(ExitCode.Other, e.Message);
        }
    }

    /// <summary>Ends the bar, so that it does not paint over the lines that follow.</summary>
    private void StopPainting()
    {
        if (end.TrySetResult())
        {
            painting.GetAwaiter().GetResult();
        }
    }

    private static void WriteLine(StellaBulkProgress progress) => ConsoleOutput.WriteMessage(Describe(progress));

    private static string Describe(StellaBulkProgress progress)
    {
        string errors = progress.ErrorCount > 0 ? Text($", {progress.ErrorCount:N0} rows at fault") : "";
        string left = progress.TimeLeft is { } time ? $", {Time(time)} left" : "";
        return progress.Phase switch
        {
            StellaBulkPhase.Planning => Text($"planning: {progress.RowCount:N0} rows"),
            StellaBulkPhase.Checking => Text($"checking: {progress.CompletedChunkCount:N0} of {progress.ChunkCount:N0} parts{left}"),
            _ => Text(
                $"{progress.CompletedRowCount:N0} of {progress.RowCount:N0} rows ({progress.CompletedShare * 100:F1} %), {progress.RowsPerSecond:N0} rows/s, {progress.TokensPerSecond:N0} tokens/s{left}{errors}"),
        };
    }

    private void WriteJson(StellaBulkProgress progress)
    {
        json!.Write(row =>
        {
            row.WriteString("event", progress.Phase switch
            {
                StellaBulkPhase.Planning => "planning",
                StellaBulkPhase.Checking => "checking",
                _ => "embedding",
            });
            row.WriteNumber("rows", progress.RowCount);
            row.WriteNumber("rows_done", progress.CompletedRowCount);
            row.WriteNumber("chunks", progress.ChunkCount);
            row.WriteNumber("chunks_done", progress.CompletedChunkCount);
            row.WriteNumber("share", Math.Round(progress.CompletedShare, 6));
            row.WriteNumber("errors", progress.ErrorCount);
            row.WriteNumber("duplicates", progress.DuplicateCount);
            row.WriteNumber("rows_per_second", Math.Round(progress.RowsPerSecond, 1));
            row.WriteNumber("tokens_per_second", Math.Round(progress.TokensPerSecond, 1));
            WriteSeconds(row, "seconds", progress.Elapsed);
            WriteSeconds(row, "seconds_left", progress.TimeLeft);
        });
        json.Flush();
    }

    private static void WriteNumber(Utf8JsonWriter row, string name, long? number)
    {
        if (number is { } value)
        {
            row.WriteNumber(name, value);
        }
        else
        {
            row.WriteNull(name);
        }
    }

    private static void WriteSeconds(Utf8JsonWriter row, string name, TimeSpan? time)
    {
        if (time is { } value)
        {
            row.WriteNumber(name, Math.Round(value.TotalSeconds, 3));
        }
        else
        {
            row.WriteNull(name);
        }
    }

    private static void Write(FormattableString line) => ConsoleOutput.WriteResult(Text(line));

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>Returns a time for people.</summary>
    internal static string Time(TimeSpan time) => time.TotalHours >= 24 ? Text($"{time.TotalDays:F1} days")
        : time.TotalMinutes >= 60 ? Text($"{time.TotalHours:F1} hours")
        : time.TotalSeconds >= 60 ? Text($"{time.TotalMinutes:F1} minutes")
        : time.TotalSeconds is >= 0.5 and < 1.5 ? "1 second"
        : Text($"{time.TotalSeconds:F0} seconds");

    private static string Bytes(long bytes) => bytes >= 1e9 ? Text($"{bytes / 1e9:F1} GB") : bytes >= 1e6 ? Text($"{bytes / 1e6:F1} MB") : Text($"{bytes:N0} bytes");
}
