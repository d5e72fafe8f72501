using System.CommandLine;
using StellaInterop.Bench.Runs;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Commands;

/// <summary>The command <c>files</c>: measures the files of bulk jobs.</summary>
internal static class FilesCommand
{
    private const int MaxRows = 1_000_000;
    private const int MaxDimension = 8192;
    private const int MaxRounds = 100;

    public static Command Create()
    {
        var command = new Command(
            "files",
            """
            Measures the writing of vectors as Parquet, beside ParquetSharp and Parquet.Net, and the reading of each input format of bulk
            jobs. All files are in memory, and one thread works.

            Examples:
              files
              files --rows 10000 --rounds 3
            """);
        Option<int> rows = Options.Number("--rows", "Number of vectors in the Parquet file.", 50_000, MaxRows);
        Option<int> dimension = Options.Number("--dimension", "Dimension of the vectors.", 1024, MaxDimension);
        Option<int> texts = Options.Number("--texts", "Number of texts in each input file.", 200_000, MaxRows);
        Option<int> rounds = Options.Number("--rounds", "Number of times that everything is measured.", 5, MaxRounds);
        foreach (Option option in new Option[] { rows, dimension, texts, rounds })
        {
            command.Add(option);
        }

        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                var run = new FilesRun(
                    parsed.GetRequiredValue(rows), parsed.GetRequiredValue(dimension), parsed.GetRequiredValue(texts), parsed.GetRequiredValue(rounds), Progress.Log);
                run.Run(Console.Out, cancellationToken);
                return (int)ExitCode.Success;
            },
            cancellationToken));
        return command;
    }
}
