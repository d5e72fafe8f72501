using System.Diagnostics;
using System.Text.Json;
using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Runs;

/// <summary>
/// Measures the time and memory of loading one engine in its own process, so that the engine cannot reuse memory of another one.
/// </summary>
internal static class ResidentRun
{
    /// <summary>Name of the hidden command that measures in the new process.</summary>
    public const string CommandName = "resident";

    /// <summary>Runs the hidden command in a new process.</summary>
    /// <exception cref="BenchException">The process failed.</exception>
    public static LoadCost RunInNewProcess(EngineSpec spec, EngineSettings settings, CancellationToken cancellationToken)
    {
        using Process process = Process.Start(OwnProcess.Command(CommandName, spec.Name, settings.Folder, $"{settings.Threads}"))!;
        using CancellationTokenRegistration stop = cancellationToken.Register(process.Kill);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        cancellationToken.ThrowIfCancellationRequested();
        return process.ExitCode == (int)ExitCode.Success
            ? JsonSerializer.Deserialize<LoadCost>(output)
            : throw new BenchException($"{spec.Name} failed to load in its own process (exit code {process.ExitCode}). Its errors are above.");
    }

    /// <summary>Loads an engine in this process, which must not have loaded any other engine.</summary>
    public static LoadCost Measure(EngineSpec spec, EngineSettings settings, CancellationToken cancellationToken)
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
