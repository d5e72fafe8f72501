using System.CommandLine;
using StellaInterop.Bench.Runs;
using StellaInterop.Bench.Synthetic;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Commands;

/// <summary>The command <c>quality</c>: measures the loss of quality in lower precisions.</summary>
internal static class QualityCommand
{
    public static Command Create()
    {
        var command = new Command(
            "quality",
            """
            Compares every precision with f32. It ranks a retrieval set, made of the documented names in this source tree, with the
            shipped model. It compares vectors for every text with a reference, with the shipped and the synthetic model. The exit
            code is 1 if a figure is outside its limit.
            """);
        Option<string> folder = Options.SyntheticFolder();
        Option<int> threads = Options.Threads();
        command.Add(folder);
        command.Add(threads);
        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                string path = parsed.GetRequiredValue(folder);
                SyntheticModel.Write(path, Progress.Log, cancellationToken);
                var run = new QualityRun(path, parsed.GetRequiredValue(threads), Progress.Log);
                return (int)(run.Run(Console.Out, cancellationToken) ? ExitCode.Success : ExitCode.Failed);
            },
            cancellationToken));
        return command;
    }
}
