using System.CommandLine;
using System.CommandLine.Invocation;
using StellaInterop.Bench.Terminal;
using StellaInterop.Load.Cost;
using StellaInterop.Load.Overload;

var seconds = new Option<int>("--seconds") { Description = "Seconds under load.", DefaultValueFactory = _ => 60, HelpName = "N" };
var model = new Option<string?>("--model") { Description = "The model folder. The default is the shipped model.", HelpName = "DIR" };
seconds.Validators.Add(result =>
{
    if (result.GetValueOrDefault<int>() < 1)
    {
        result.AddError("--seconds must be at least 1.");
    }
});

var run = new Command(
    "run",
    $"""
    Starts `stella serve` and sends it more than it can answer: {OverloadRun.Clients} clients with requests of {OverloadRun.Texts} texts and a bulk
    key, at {OverloadRun.OfferedTimes} times the capacity that was measured before, while an interactive key sends single texts. Each check is a
    line of the table. A refusal is timed by the server, in the header Server-Timing, from the last byte of the body to the
    first byte of the answer. The exit code is 1 if a check fails.

    Example: run --seconds 60
    """)
{
    seconds, model,
};
run.SetAction(async (parsed, _) =>
{
    CheckTable.WriteMachine(Console.Out);
    OverloadRecord record = await new OverloadRun(parsed.GetValue(model), parsed.GetRequiredValue(seconds), Defect.None).RunAsync().ConfigureAwait(false);
    IReadOnlyList<Check> checks = Verdict.Of(record);
    CheckTable.Write(checks, Console.Out);
    return (int)(checks.All(check => check.Holds) ? ExitCode.Success : ExitCode.Failed);
});

var control = new Command(
    "control",
    $"""
    Plants one defect after the other, which run must find. --seconds is for all of them together. The exit code is 1 if one is
    not found.

    Defects: {string.Join("; ", Defect.All.Select(defect => defect.Name))}
    """)
{
    seconds, model,
};
control.SetAction(async (parsed, _) =>
{
    bool all = true;
    foreach (Defect defect in Defect.All)
    {
        double time = Math.Max(5, parsed.GetRequiredValue(seconds) / (double)Defect.All.Count);
        OverloadRecord record = await new OverloadRun(parsed.GetValue(model), time, defect).RunAsync().ConfigureAwait(false);
        IReadOnlyList<Check> checks = Verdict.Of(record);
        Check expected = checks.First(check => check.Name == defect.Finding);
        string others = string.Join("; ", checks.Where(check => !check.Holds && check != expected).Select(check => $"{check.Name}: {check.Measured}"));
        all &= !expected.Holds;
        await Console.Out.WriteLineAsync(
            $"{defect.Name}: {(expected.Holds ? "NOT FOUND" : "found")}, {expected.Name}: {expected.Measured}, limit {expected.Limit}{(others.Length > 0 ? $". Others that fail: {others}" : "")}")
            .ConfigureAwait(false);
    }

    return (int)(all ? ExitCode.Success : ExitCode.Failed);
});

var rounds = new Option<int>("--rounds") { Description = "Rounds. Each measures all ways in turn.", DefaultValueFactory = _ => 20, HelpName = "N" };
var roundSeconds = new Option<double>("--round-seconds") { Description = "Seconds of each way in a round.", DefaultValueFactory = _ => 1.5, HelpName = "N" };
var minShare = new Option<double>("--min-share")
{
    Description = "Smallest throughput over HTTP in percent of the pool. The promise is 85 for the shipped model and 97 for synthetic-400m.",
    DefaultValueFactory = _ => 85,
    HelpName = "N",
};
var cost = new Command(
    "cost",
    """
    Measures the cost of HTTP against a pool in this process: the throughput of 64 callers with one text each, the processor time
    of client and server for a text, the added latency on an idle server, and the time from start to first answer. The clients
    write prepared bytes to sockets and search for the end of an answer, so that they cost about as much as a call of the pool.
    The exit code is 1 if a check fails.

    Example: cost --model DIR --min-share 97
    """)
{
    model, rounds, roundSeconds, minShare,
};
cost.SetAction(async (parsed, _) =>
{
    CheckTable.WriteMachine(Console.Out);
    bool holds = await new CostRun(
        parsed.GetValue(model), parsed.GetRequiredValue(rounds), parsed.GetRequiredValue(roundSeconds), parsed.GetRequiredValue(minShare) / 100)
        .RunAsync(Console.Out).ConfigureAwait(false);
    return (int)(holds ? ExitCode.Success : ExitCode.Failed);
});

var root = new RootCommand(
    """
    Checks `stella serve` under overload, and measures the cost of HTTP. Needs Linux.

    Exit codes: 0 success, 1 a check fails, 2 wrong usage.
    """)
{
    run, control, cost,
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
    return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false }).ConfigureAwait(false);
}
catch (BenchException e)
{
    await Console.Error.WriteLineAsync($"error: {e.Message}").ConfigureAwait(false);
    return (int)ExitCode.Failed;
}
