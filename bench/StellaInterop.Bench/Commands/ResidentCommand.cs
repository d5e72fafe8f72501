using System.CommandLine;
using System.Text.Json;
using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Runs;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Commands;

/// <summary>The hidden command <c>resident</c>, which <c>peers</c> starts in a new process for each engine.</summary>
internal static class ResidentCommand
{
    public static Command Create()
    {
        var engine = new Argument<string>("ENGINE");
        var folder = new Argument<string>("DIR");
        var threads = new Argument<int>("THREADS");
        var command = new Command(ResidentRun.CommandName, "Loads an engine and writes the time and memory that this took, as JSON.") { engine, folder, threads };
        command.Hidden = true;
        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                EngineSpec spec = EngineSpec.ParseList(parsed.GetRequiredValue(engine))[0];
                var settings = new EngineSettings(parsed.GetRequiredValue(folder), parsed.GetRequiredValue(threads));
                Console.WriteLine(JsonSerializer.Serialize(ResidentRun.Measure(spec, settings, cancellationToken)));
                return (int)ExitCode.Success;
            },
            cancellationToken));
        return command;
    }
}
