using System.CommandLine;
using StellaInterop.Bench.Files;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bench.Runs;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Commands;

/// <summary>The command <c>bulk</c>: measures bulk jobs beside the pool.</summary>
internal static class BulkCommand
{
    private const int MaxRows = 100_000_000;
    private const int MaxRounds = 100;

    public static Command Create()
    {
        var command = new Command(
            "bulk",
            $"""
            Measures the throughput of `stella bulk` beside a pool that embeds the same texts from memory, and the peak of its resident
            memory. DuckDB checks that each id is in the output exactly once. Each job and the pool have a process of their own. They run in
            turn, a second each, while the others are stopped. Needs Linux.
            The exit code is 1 if the throughput is below {BulkSummary.MinShare:0 %} of the pool's, the peak above {BulkSummary.MaxPeakBytes / 1e6:F0} MB, or an id is not there once.

            The texts have random words of the vocabulary of the model. Inputs and outputs are in the system's temporary folder. A row of a
            model with 1,024 dimensions takes 4 kB there.

            Examples:
              bulk
              bulk --rows 40000 --words 20..60 --format jsonl,gzip,csv,parquet
              bulk --rows 10000000 --rounds 1 --without-pool
            """);
        var model = new Option<string?>("--model") { Description = "The model folder. The default is the shipped model.", HelpName = "DIR" };
        Option<int> rows = Options.Number("--rows", "Number of rows of the input.", 200_000, MaxRows);
        Option<string> words = Options.Parsed("--words", "Number of words of a row.", "FEWEST..MOST", "1..3", WordRange.Parse);
        Option<string> format = Options.List(
            "--format", $"Forms of the input: {string.Join(", ", BulkInput.All.Select(input => input.Name))}.", "jsonl", BulkInput.ParseList);
        Option<int> rounds = Options.Number("--rounds", "Number of times that everything is measured.", 5, MaxRounds);
        var withoutPool = new Option<bool>("--without-pool") { Description = "Measure no pool, for inputs that take long." };
        foreach (Option option in new Option[] { model, rows, words, format, rounds, withoutPool })
        {
            command.Add(option);
        }

        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                var settings = new BulkRunSettings(
                    parsed.GetValue(model),
                    parsed.GetRequiredValue(rows),
                    WordRange.Parse(parsed.GetRequiredValue(words)),
                    BulkInput.ParseList(parsed.GetRequiredValue(format)),
                    parsed.GetRequiredValue(rounds),
                    HasPool: !parsed.GetValue(withoutPool));
                bool holds = new BulkRun(settings, Progress.Log).Run(Console.Out, cancellationToken);
                return (int)(holds ? ExitCode.Success : ExitCode.Failed);
            },
            cancellationToken));
        return command;
    }
}
