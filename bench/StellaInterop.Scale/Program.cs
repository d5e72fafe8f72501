using System.CommandLine;
using System.CommandLine.Invocation;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Terminal;
using StellaInterop.Scale;
using StellaInterop.Scale.Reporting;
using StellaInterop.Scale.Workers;

Option<int> chunks = Number("--chunks", "Chunks of the job.", SimulationOptions.FullChunkCount, SimulationOptions.FullChunkCount);
Option<int> workers = Number("--workers", "Simulated workers.", 100, 1000);
Option<int> silos = Number("--silos", "Silos of the cluster.", 5, 50);
Option<int> workSeconds = Number("--work-seconds", "Mean seconds of the simulated work on a chunk. Each differs by up to 20 %.", 5, 3600);
Option<int> loseEvery = Number("--lose-every", "Seconds after which one more worker is lost without a word.", 60, 86_400);
Option<int> backAfter = Number("--back-after", "Seconds after which a lost worker comes back as another node.", 30, 86_400);
Option<int> seed = Number("--seed", "Seed of the random numbers.", 1, int.MaxValue);
var run = new Command(
    "run",
    $"""
    Runs one job on simulated workers and real silos in this process. A worker is the worker of a node as shipped; only the model is
    replaced by a time to wait. Workers join five a second. Leases, parts and files are real. The table has the throughput beside that
    of workers which always compute while they live. The exit code is 1 if a row is not in the output exactly once, or if the
    throughput of {SimulationOptions.FullChunkCount} chunks is below {SimulationOptions.LeastShare * 100} % of that.

    Example: run --chunks 1000 --work-seconds 1
    """)
{
    chunks, workers, silos, workSeconds, loseEvery, backAfter, seed,
};
run.SetAction(async (parsed, cancellationToken) =>
{
    var load = new MachineLoad();
    SimulationResult result = await new ScaleRun(new SimulationOptions
    {
        ChunkCount = parsed.GetRequiredValue(chunks),
        WorkerCount = parsed.GetRequiredValue(workers),
        SiloCount = parsed.GetRequiredValue(silos),
        WorkTime = TimeSpan.FromSeconds(parsed.GetRequiredValue(workSeconds)),
        LossTime = TimeSpan.FromSeconds(parsed.GetRequiredValue(loseEvery)),
        ReturnTime = TimeSpan.FromSeconds(parsed.GetRequiredValue(backAfter)),
        Seed = parsed.GetRequiredValue(seed),
    }).RunAsync(cancellationToken).ConfigureAwait(false);
    ScaleTable.Write(result, load.OthersShare(), Console.Out);
    return (int)(result.Holds ? ExitCode.Success : ExitCode.Failed);
});

var root = new RootCommand(
    """
    Measures how a cluster for bulk jobs scales, by simulation.

    Exit codes: 0 success, 1 a promise is broken, 2 wrong usage.
    """)
{
    run,
};
ParseResult parsed = root.Parse(args.Length == 0 ? ["--help"] : args);
if (parsed.Action is ParseErrorAction)
{
    foreach (var error in parsed.Errors)
    {
        await Console.Error.WriteLineAsync($"error: {error.Message}").ConfigureAwait(false);
    }

    return (int)ExitCode.Usage;
}

try
{
    // A run that is interrupted deletes a folder with two files for each chunk.
    return await parsed.InvokeAsync(new InvocationConfiguration
    {
        EnableDefaultExceptionHandler = false,
        ProcessTerminationTimeout = TimeSpan.FromSeconds(60),
    }).ConfigureAwait(false);
}
catch (BenchException e)
{
    await Console.Error.WriteLineAsync($"error: {e.Message}").ConfigureAwait(false);
    return (int)ExitCode.Failed;
}
catch (OperationCanceledException)
{
    return (int)ExitCode.Interrupted;
}

static Option<int> Number(string name, string description, int usual, int limit)
{
    var option = new Option<int>(name) { Description = description, DefaultValueFactory = _ => usual, HelpName = "N" };
    option.Validators.Add(result =>
    {
        if (result.GetValueOrDefault<int>() is var value && (value < 1 || value > limit))
        {
            result.AddError($"{name} is {value}, and must be from 1 to {limit}.");
        }
    });
    return option;
}
