using System.CommandLine;
using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bench.Runs;
using StellaInterop.Bench.Synthetic;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Commands;

/// <summary>The command <c>peers</c>: measures this library beside other engines on the same weights.</summary>
internal static class PeersCommand
{
    private const int MaxRounds = 1000;

    public static Command Create()
    {
        var command = new Command(
            "peers",
            $"""
            Measures this library beside ONNX Runtime and candle on the same weights, in turn within each round. Prints tokens
            per second, latency, the ratio to the fastest peer, and the share of the hardware's limit. Before that, it checks
            that all engines return the same vectors; if they do not, the exit code is 1.

            Examples:
              peers
              peers --shapes 1x32,8x128 --engines candle,ort-f32 --rounds 10
              peers --json peers.json --plots plots
            """);
        var model = new Option<string>("--model")
        {
            Description = $"{SyntheticModel.Name} (random weights in the shape of Stella 400M), or a model folder. ONNX Runtime needs "
                + "model.onnx and model_int8.onnx in that folder.",
            HelpName = $"{SyntheticModel.Name}|DIR",
            DefaultValueFactory = _ => SyntheticModel.Name,
        };
        Option<string> folder = Options.SyntheticFolder();
        Option<string> shapes = Options.List(
            "--shapes", $"Shapes of one call: TEXTSxTOKENS, or {Shape.Mixed} for 256 texts of log-normal lengths.", Shape.Default, Shape.ParseList);
        Option<string> engines = Options.List(
            "--engines", "Engines to measure.", string.Join(',', EngineSpec.All.Select(spec => spec.Name)), EngineSpec.ParseList);
        Option<int> threads = Options.Threads();
        Option<int> rounds = Options.Number("--rounds", "Number of times that each engine runs each shape.", 5, MaxRounds);
        var json = new Option<string?>("--json") { Description = "Writes all figures to this file, as JSON.", HelpName = "FILE" };
        var plots = new Option<string?>("--plots") { Description = "Draws a chart for each precision into this folder.", HelpName = "DIR" };
        model.Validators.Add(result =>
        {
            string given = result.GetValueOrDefault<string>();
            if (given != SyntheticModel.Name && !Directory.Exists(given))
            {
                result.AddError($"--model is '{given}'. It must be {SyntheticModel.Name} or an existing folder.");
            }
        });
        // Fails before the measurement and not after it.
        json.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string?>() is { } given && !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(given))))
            {
                result.AddError($"--json is '{given}', but its folder does not exist. Create the folder first.");
            }
        });
        foreach (Option option in new Option[] { model, folder, shapes, engines, threads, rounds, json, plots })
        {
            command.Add(option);
        }

        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                string name = parsed.GetRequiredValue(model);
                string path = name == SyntheticModel.Name ? parsed.GetRequiredValue(folder) : name;
                if (name == SyntheticModel.Name)
                {
                    SyntheticModel.Write(path, Progress.Log, cancellationToken);
                }

                var settings = new PeersSettings(
                    name == SyntheticModel.Name ? name : Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(name))),
                    path,
                    Shape.ParseList(parsed.GetRequiredValue(shapes)),
                    EngineSpec.ParseList(parsed.GetRequiredValue(engines)),
                    parsed.GetRequiredValue(threads),
                    parsed.GetRequiredValue(rounds));
                Run(settings, parsed.GetValue(json), parsed.GetValue(plots), cancellationToken);
                return (int)ExitCode.Success;
            },
            cancellationToken));
        return command;
    }

    private static void Run(PeersSettings settings, string? json, string? plots, CancellationToken cancellationToken)
    {
        using var run = new PeersRun(settings, Progress.Log);
        PeersReport report = run.Run(cancellationToken);
        PeersTables.Write(report, Console.Out);
        if (json is not null)
        {
            report.WriteJson(json);
            Progress.Log($"Wrote {json}.");
        }

        if (plots is not null)
        {
            foreach (string file in PeersPlots.Write(report, plots))
            {
                Progress.Log($"Drew {file}.");
            }
        }
    }
}
