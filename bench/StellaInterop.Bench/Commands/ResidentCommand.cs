using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Commands;

/// <summary>
/// The hidden command <c>resident</c>: measures the memory of one engine in its own process, so that the engine cannot reuse
/// memory of another one. <c>peers</c> starts it.
/// </summary>
internal static class ResidentCommand
{
    private const string Name = "resident";

    public static Command Create()
    {
        var engine = new Argument<string>("ENGINE");
        var folder = new Argument<string>("DIR");
        var threads = new Argument<int>("THREADS");
        var command = new Command(Name, "Loads an engine and writes the time and memory that this took, as JSON.") { engine, folder, threads };
        command.Hidden = true;
        command.SetAction((parsed, cancellationToken) => Task.Run(
            () =>
            {
                EngineSpec spec = EngineSpec.ParseList(parsed.GetRequiredValue(engine))[0];
                var settings = new EngineSettings(parsed.GetRequiredValue(folder), parsed.GetRequiredValue(threads));
                Console.WriteLine(JsonSerializer.Serialize(Measure(spec, settings, cancellationToken)));
                return (int)ExitCode.Success;
            },
            cancellationToken));
        return command;
    }

    /// <summary>Runs the command in a new process.</summary>
    /// <exception cref="BenchException">The process failed.</exception>
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
        return process.ExitCode == (int)ExitCode.Success
            ? JsonSerializer.Deserialize<LoadCost>(output)
            : throw new BenchException($"{spec.Name} failed to load in its own process (exit code {process.ExitCode}). Its errors are above.");
    }

    private static LoadCost Measure(EngineSpec spec, EngineSettings settings, CancellationToken cancellationToken)
    {
        ResidentMemory before = ResidentMemory.Measure();
        var clock = Stopwatch.StartNew();
        using IEngine engine = spec.Load(settings);
        TimeSpan elapsed = clock.Elapsed;
        // The first text allocates memory as well. Any text will do, because its vector is not compared.
        using (IPreparedWorkload work = engine.Prepare(new Workload("a first text", ["river"], [[101, 2314, 102]])))
        {
            work.Run(cancellationToken);
        }

        return new LoadCost(elapsed.TotalSeconds, ResidentMemory.Measure() - before);
    }
}

/// <summary>The cost of loading an engine.</summary>
/// <param name="Seconds">Time to load.</param>
/// <param name="Resident">Memory that is still in use after a first text.</param>
internal readonly record struct LoadCost(double Seconds, ResidentMemory Resident);
