using System.CommandLine;
using System.CommandLine.Invocation;
using System.Globalization;
using StellaInterop;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Terminal;
using StellaInterop.Models.Mini;
using StellaInterop.Soak;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.Scenarios;

var seconds = new Option<int>("--seconds") { Description = "Seconds for all scenarios together.", DefaultValueFactory = _ => 60, HelpName = "N" };
var model = new Option<string>("--model")
{
    Description = "The model folder. The default is the shipped model.",
    DefaultValueFactory = _ => StellaMiniModel.Path,
    HelpName = "DIR",
};
var seed = new Option<int>("--seed") { Description = "Seed of the random numbers.", DefaultValueFactory = _ => 1, HelpName = "N" };
var scenarios = new Option<string>("--scenarios") { Description = "Names of scenarios, or all.", DefaultValueFactory = _ => "all", HelpName = "A,B,..." };
scenarios.Validators.Add(result =>
{
    try
    {
        _ = ScenarioList.Parse(result.GetValueOrDefault<string>());
    }
    catch (FormatException e)
    {
        result.AddError(e.Message);
    }
});
seconds.Validators.Add(result =>
{
    if (result.GetValueOrDefault<int>() < 1)
    {
        result.AddError("--seconds must be at least 1.");
    }
});

var samples = new Option<string?>("--memory") { Description = "Writes all memory samples to this file, as CSV.", HelpName = "FILE" };
var run = new Command(
    "run",
    $"""
    Loads a pool in many ways and checks its promises. Every call has one answer. The pool's meter counts the same outcomes as the
    callers. Every vector has the same bits as from the model alone. The queue keeps its limits. Refusals take less than 5 ms. No
    memory leaks, and all native bytes and handles are freed. The second table has the additional promise of each scenario. The
    exit code is 1 if a promise is broken.

    Scenarios: {string.Join("; ", ScenarioList.All.Select(scenario => $"{scenario.Name}: {scenario.Load}"))}
    """)
{
    seconds, model, scenarios, seed, samples,
};
run.SetAction(async (parsed, _) =>
{
    IReadOnlyList<Scenario> chosen = ScenarioList.Parse(parsed.GetRequiredValue(scenarios));
    var load = new MachineLoad();
    ScenarioRun soak = Soak(parsed);
    var results = new List<ScenarioResult>();
    foreach (Scenario scenario in chosen)
    {
        TimeSpan time = TimeSpan.FromSeconds(parsed.GetRequiredValue(seconds)) * scenario.Share / chosen.Sum(other => other.Share);
        Progress.Log(string.Create(CultureInfo.InvariantCulture, $"Running {scenario.Name} for {time.TotalSeconds:F0} s."));
        results.Add(await soak.RunAsync(scenario, time).ConfigureAwait(false));
    }

    if (parsed.GetValue(samples) is { } file)
    {
        await File.WriteAllLinesAsync(file, SoakTable.Samples(results), CancellationToken.None).ConfigureAwait(false);
    }

    SoakTable.Write(results, load.OthersShare(), Console.Out);
    return (int)(results.TrueForAll(result => result.Broken.Count == 0) ? ExitCode.Success : ExitCode.Failed);
});

var control = new Command(
    "control",
    $"""
    Plants one defect after the other, which run must find, and a growth of memory that stops, which run must not report. A leak
    is 1 MB a minute in runs of {Control.UsualSeconds} s and more, and the same number of bytes in shorter runs. The exit code is 1 if an
    outcome is not as expected.

    Defects: {string.Join("; ", Control.All.Select(planted => $"{planted.Name} ({planted.Scenario.Name})"))}
    """)
{
    seconds, model, seed,
};
control.SetAction(async (parsed, _) =>
{
    ScenarioRun soak = Soak(parsed);
    bool all = true;
    foreach (Control planted in Control.All)
    {
        var (good, line) = await planted.RunAsync(soak, parsed.GetRequiredValue(seconds)).ConfigureAwait(false);
        await Console.Out.WriteLineAsync(line).ConfigureAwait(false);
        all &= good;
    }

    return (int)(all ? ExitCode.Success : ExitCode.Failed);
});

var throughput = new Command(
    "throughput",
    """
    Measures the overhead of a pool: many callers against one call with all texts, one call against the model alone, and workers
    against threads.
    """)
{
    model,
};
throughput.SetAction(async (parsed, _) =>
{
    await new Throughput(parsed.GetRequiredValue(model), new StellaModelOptions()).RunAsync(Console.Out).ConfigureAwait(false);
    return (int)ExitCode.Success;
});

var root = new RootCommand(
    """
    Checks the promises of a StellaInterop pool under load.

    Exit codes: 0 success, 1 a promise is broken, 2 wrong usage.
    """)
{
    run, control, throughput,
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

return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = true }).ConfigureAwait(false);

ScenarioRun Soak(ParseResult parsed)
{
    string folder = parsed.GetRequiredValue(model);
    var options = new StellaModelOptions();
    return new ScenarioRun(folder, options, new KnownTexts(folder, options), parsed.GetRequiredValue(seed));
}
