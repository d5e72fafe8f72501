using System.CommandLine;
using StellaInterop.Bench.Quality;
using StellaInterop.Bench.Synthetic;

namespace StellaInterop.Bench.Commands;

/// <summary><c>quality</c>: what lower precisions cost.</summary>
internal static class QualityCommand
{
    public static Command Create()
    {
        var command = new Command(
            "quality",
            """
            Compares every precision with f32: the ranking of a retrieval set made of this tree's documented names, with the shipped
            model, and the vectors of every text with a reference, of the shipped and of the synthetic model. Exit code 1 where one is
            outside its limit.
            """);
        Option<string> folder = Options.SyntheticFolder();
        Option<int> threads = Options.Threads();
        command.Add(folder);
        command.Add(threads);
        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                string path = parsed.GetRequiredValue(folder);
                SyntheticModel.Write(path, Progress.Say, cancellationToken);
                var run = new QualityRun(path, parsed.GetRequiredValue(threads), Progress.Say);
                return (int)(run.Run(Console.Out, cancellationToken) ? ExitCode.Good : ExitCode.Failed);
            },
            cancellationToken));
        return command;
    }
}
