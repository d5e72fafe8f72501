using System.CommandLine;
using StellaInterop.Bench.Synthetic;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Commands;

/// <summary>The command <c>synthesize</c>: writes the synthetic model for other uses.</summary>
internal static class SynthesizeCommand
{
    public static Command Create()
    {
        var command = new Command(
            "synthesize",
            """
            Writes a model folder with random weights in the shape of Stella 400M (2.1 GB), with graphs for ONNX Runtime. Keeps
            existing large files whose SHA-256 is right.
            """);
        var folder = new Argument<string>("DIR") { Description = "The folder. It is created if it does not exist." };
        command.Add(folder);
        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                string path = parsed.GetRequiredValue(folder);
                SyntheticModel.Write(path, Progress.Log, cancellationToken);
                Console.WriteLine(path);
                return (int)ExitCode.Success;
            },
            cancellationToken));
        return command;
    }
}
