using System.CommandLine;
using System.CommandLine.Invocation;
using StellaInterop.Bench.Terminal;
using StellaInterop.Chaos;
using StellaInterop.Chaos.Nodes;

var seed = new Option<int>("--seed") { Description = "Seed of the faults, their times and targets, and of the input.", DefaultValueFactory = _ => 1, HelpName = "N" };
var seconds = new Option<int>("--seconds")
{
    Description = "Seconds with faults, from 60 to 240. The run takes longer: it installs PostgreSQL at the first time, computes the reference, and waits for the job.",
    DefaultValueFactory = _ => 120,
    HelpName = "N",
};
seconds.Validators.Add(result =>
{
    if (result.GetValueOrDefault<int>() is var value and (< 60 or > 240))
    {
        result.AddError($"--seconds is {value}, and must be from 60 to 240: a pause outlasts a lease of 20 s, and a run ends in seven minutes.");
    }
});
var lose = new Option<string?>("--lose")
{
    Description = "Switches one safeguard of the nodes off, to show that the run or another test notices its loss.",
    HelpName = "NAME",
};
lose.AcceptOnlyFromAmong([.. SafeguardNames.All.Keys]);

var run = new Command(
    "run",
    """
    Runs one bulk job on a cluster of processes on this machine, with PostgreSQL as membership, while faults happen: nodes are
    killed, paused for longer than a lease, stopped and started again at the same ports; nodes join, one with another model;
    PostgreSQL stops and starts; a node is cut off from the others, shortly and for longer than the failure detection; the disk
    of the output is full; the submitter is killed and submits again. One row of the input ends each process that embeds it.

    Afterwards every id is once in the output, every vector has the bits of a run in one process, _errors has the poison row
    alone, the manifest agrees with the files, and nothing else is left. The history is on standard output as JSON Lines, one
    event each, and then each rule with "holds" or "BROKEN". The exit code is 0 only if all rules hold and every planned fault
    happened; otherwise the folder with the history, the logs and the output is kept, and named. A run that takes seven minutes fails.

    PostgreSQL is a new database on the server of STELLA_POSTGRES (postgres://USER:PASSWORD@HOST:PORT/DATABASE, or a connection string),
    or a temporary server that samples/FolderSearch/pgvector.sh installs in artifacts/pgvector. Needs Linux; root for that installation, for the
    network of the nodes and for the small disk. Without root, STELLA_POSTGRES must be set, and the history says which faults are left out.

    Example: run --seed 7 --seconds 90
    """)
{
    seed, seconds, lose,
};
run.SetAction(async (parsed, cancellationToken) =>
{
    TimeSpan time = TimeSpan.FromSeconds(parsed.GetRequiredValue(seconds));
    bool holds = await new ChaosRun(parsed.GetRequiredValue(seed), time, SafeguardNames.Of(parsed.GetValue(lose))).RunAsync(Console.Out, cancellationToken).ConfigureAwait(false);
    return (int)(holds ? ExitCode.Success : ExitCode.Failed);
});

var root = new RootCommand(
    """
    Runs bulk jobs on a cluster under faults, and checks that nothing is lost, made twice or changed.

    Exit codes: 0 all rules hold, 1 a rule is broken, 2 wrong usage.
    """)
{
    run, NodeCommand.Create(),
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
