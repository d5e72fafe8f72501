using System.CommandLine;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Runs;
using StellaInterop.Bench.Synthetic;
using StellaInterop.Bench.Terminal;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench.Commands;

/// <summary>The command <c>tokenizing</c>: measures the share of tokenizing in the time of a call.</summary>
internal static class TokenizingCommand
{
    private const int MaxRounds = 1000;

    public static Command Create()
    {
        var command = new Command(
            "tokenizing",
            """
            Measures the share of tokenizing in the time of embedding. The texts are random words by number and length, and the names
            and comments of this source tree. The models are the small shipped model and the synthetic model, whose forward pass costs
            as much as that of Stella 400M.

            Examples:
              tokenizing
              tokenizing --models stella-mini --shapes 1x8 --rounds 10
            """);
        Option<string> folder = Options.SyntheticFolder();
        Option<string> models = Options.List(
            "--models", "Models to measure.", string.Join(',', TokenizingRun.Models), TokenizingRun.ParseModels);
        Option<string> shapes = Options.List(
            "--shapes", "Shapes of one call: TEXTSxTOKENS.", "1x8,1x32,32x32", Shape.ParseList);
        Option<int> threads = Options.Threads();
        Option<int> rounds = Options.Number("--rounds", "Number of times that everything is measured.", 5, MaxRounds);
        foreach (Option option in new Option[] { folder, models, shapes, threads, rounds })
        {
            command.Add(option);
        }

        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                string path = parsed.GetRequiredValue(folder);
                IReadOnlyList<string> names = TokenizingRun.ParseModels(parsed.GetRequiredValue(models));
                if (names.Contains(SyntheticModel.Name))
                {
                    SyntheticModel.Write(path, Progress.Log, cancellationToken);
                }

                var run = new TokenizingRun(
                    [.. names.Select(name => (name, name == SyntheticModel.Name ? path : StellaMiniModel.Path))],
                    Shape.ParseList(parsed.GetRequiredValue(shapes)),
                    parsed.GetRequiredValue(threads),
                    parsed.GetRequiredValue(rounds),
                    Progress.Log);
                run.Run(Console.Out, cancellationToken);
                return (int)ExitCode.Success;
            },
            cancellationToken));
        return command;
    }
}
