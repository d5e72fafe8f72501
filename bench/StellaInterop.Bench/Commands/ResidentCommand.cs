using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Commands;

/// <summary>
/// <c>resident</c>: what an engine holds in a process of its own, where nothing that another one left behind is reused.
/// <c>peers</c> starts it; it is not shown.
/// </summary>
internal static class ResidentCommand
{
    private const string Name = "resident";

    public static Command Create()
    {
        var engine = new Argument<string>("ENGINE");
        var folder = new Argument<string>("DIR");
        var threads = new Argument<int>("THREADS");
        var command = new Command(Name, "Loads an engine and writes what that took, as JSON.") { engine, folder, threads };
        command.Hidden = true;
        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                EngineSpec spec = EngineSpec.ParseList(parsed.GetRequiredValue(engine))[0];
                var settings = new EngineSettings(parsed.GetRequiredValue(folder), parsed.GetRequiredValue(threads));
                Console.WriteLine(JsonSerializer.Serialize(Measure(spec, settings, cancellationToken)));
                return (int)ExitCode.Good;
            },
            cancellationToken));
        return command;
    }

    /// <summary>Runs the command in a process of its own.</summary>
    /// <exception cref="BenchException">It failed.</exception>
    public static LoadCost Run(EngineSpec spec, EngineSettings settings, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true };
        if (Path.GetFileNameWithoutExtension(start.FileName) == "dotnet")
        {
            start.ArgumentList.Add(typeof(ResidentCommand).Assembly.Location);
        }

        foreach (string argument in new[] { Name, spec.Name, settings.Folder, $"{settings.Threads}" })
        {
            start.ArgumentList.Add(argument);
        }

        using Process process = Process.Start(start)!;
        using CancellationTokenRegistration stop = cancellationToken.Register(process.Kill);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        cancellationToken.ThrowIfCancellationRequested();
        return process.ExitCode == (int)ExitCode.Good
            ? JsonSerializer.Deserialize<LoadCost>(output)
            : throw new BenchException($"{spec.Name} did not load in a process of its own");
    }

    private static LoadCost Measure(EngineSpec spec, EngineSettings settings, CancellationToken cancellationToken)
    {
        ResidentMemory before = ResidentMemory.Measure();
        var clock = Stopwatch.StartNew();
        using IEngine engine = spec.Load(settings);
        TimeSpan elapsed = clock.Elapsed;
        // Some memory is taken by the first text. Which one is the same: nothing is compared.
        using (IWork work = engine.Prepare(new Workload("a first text", ["river"], [[101, 2314, 102]])))
        {
            work.Run(cancellationToken);
        }

        return new LoadCost(elapsed.TotalSeconds, ResidentMemory.Measure() - before);
    }
}

/// <summary>What loading an engine took.</summary>
/// <param name="Seconds">Time.</param>
/// <param name="Resident">Memory that stayed, after a first text.</param>
internal readonly record struct LoadCost(double Seconds, ResidentMemory Resident);
