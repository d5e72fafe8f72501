using System.CommandLine;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Synthetic;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench.Commands;

/// <summary><c>tokenizing</c>: the tokenizer's part of the whole.</summary>
internal static class TokenizingCommand
{
    private const int MostRounds = 1000;

    public static Command Create()
    {
        var command = new Command(
            "tokenizing",
            """
            Measures which part of embedding is tokenizing: for texts of random words by number and length, and for the names and comments
            of this tree, which are prose. With the shipped model, which is small, and with the synthetic one, which costs what Stella 400M
            does.

            Examples:
              tokenizing
              tokenizing --models stella-mini --shapes 1x8 --rounds 10
            """);
        Option<string> folder = Options.SyntheticFolder();
        Option<string> models = Options.List(
            "--models", "The models.", string.Join(',', TokenizingRun.Models), TokenizingRun.ParseModels);
        Option<string> shapes = Options.List(
            "--shapes", "What one call embeds: TEXTSxTOKENS.", "1x8,1x32,32x32", Shape.ParseList);
        Option<int> threads = Options.Threads();
        Option<int> rounds = Options.Number("--rounds", "How often everything is measured.", 5, MostRounds);
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
                    SyntheticModel.Write(path, Progress.Say, cancellationToken);
                }

                var run = new TokenizingRun(
                    [.. names.Select(name => (name, name == SyntheticModel.Name ? path : StellaMiniModel.Path))],
                    Shape.ParseList(parsed.GetRequiredValue(shapes)),
                    parsed.GetRequiredValue(threads),
                    parsed.GetRequiredValue(rounds),
                    Progress.Say);
                run.Run(Console.Out, cancellationToken);
                return (int)ExitCode.Good;
            },
            cancellationToken));
        return command;
    }
}
