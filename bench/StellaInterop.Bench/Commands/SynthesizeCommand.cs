using System.CommandLine;
using StellaInterop.Bench.Synthetic;

namespace StellaInterop.Bench.Commands;

/// <summary><c>synthesize</c>: the synthetic model for other uses.</summary>
internal static class SynthesizeCommand
{
    public static Command Create()
    {
        var command = new Command(
            "synthesize",
            """
            Writes a model folder with random weights in the shape of Stella 400M (2.1 GB), with graphs for ONNX Runtime. Large
            files that are there already and have the right SHA-256 are kept.
            """);
        var folder = new Argument<string>("DIR") { Description = "The folder; it is made if need be." };
        command.Add(folder);
        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                string path = parsed.GetRequiredValue(folder);
                SyntheticModel.Write(path, Progress.Say, cancellationToken);
                Console.WriteLine(path);
                return (int)ExitCode.Good;
            },
            cancellationToken));
        return command;
    }
}
