using System.CommandLine;
using System.CommandLine.Invocation;
using System.Globalization;
using StellaInterop;
using StellaInterop.Bench;
using StellaInterop.Bench.Measuring;
using StellaInterop.Models.Mini;
using StellaInterop.Soak;

var seconds = new Option<int>("--seconds") { Description = "Seconds of all scenarios together.", DefaultValueFactory = _ => 60, HelpName = "N" };
var model = new Option<string>("--model")
{
    Description = "The model's folder; the shipped one by default.",
    DefaultValueFactory = _ => StellaMiniModel.Path,
    HelpName = "DIR",
};
var seed = new Option<int>("--seed") { Description = "Where chance begins.", DefaultValueFactory = _ => 1, HelpName = "N" };
var scenarios = new Option<string>("--scenarios") { Description = "Which, by their names, or all.", DefaultValueFactory = _ => "all", HelpName = "A,B,..." };
scenarios.Validators.Add(result =>
{
    try
    {
        _ = Scenario.ParseList(result.GetValueOrDefault<string>());
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

var samples = new Option<string?>("--memory") { Description = "A file for every sample of the memory, as CSV.", HelpName = "FILE" };
var run = new Command(
    "run",
    $"""
    Loads a pool in many ways and holds it to its promises: every call has one answer, the ledger of callers and of the pool's meter
    agree, every vector has the bits that the model alone gives, the queue keeps its limits, refusals come within 5 ms, no memory
    grows to the end, and native bytes and handles are back where they were. The second table has the promise of each scenario.
    Exit code 1 when a promise is broken.

    Scenarios: {string.Join("; ", Scenario.All.Select(scenario => $"{scenario.Name}: {scenario.What}"))}
    """)
{
    seconds, model, scenarios, seed, samples,
};
run.SetAction(async (parsed, _) =>
{
    IReadOnlyList<Scenario> chosen = Scenario.ParseList(parsed.GetRequiredValue(scenarios));
    var load = new MachineLoad();
    ScenarioRun soak = Soak(parsed);
    var results = new List<ScenarioResult>();
    foreach (Scenario scenario in chosen)
    {
        TimeSpan time = TimeSpan.FromSeconds(parsed.GetRequiredValue(seconds)) * scenario.Share / chosen.Sum(one => one.Share);
        Progress.Log(string.Create(CultureInfo.InvariantCulture, $"{scenario.Name} for {time.TotalSeconds:F0} s"));
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
    Plants defects that run must find, one after the other, and a growth of memory that ends, which it must not report. A leak of
    1 MB a minute is planted in runs of {Control.UsualSeconds} s and more, and the same bytes in shorter ones. Exit code 1 when an
    outcome is another.

    Defects: {string.Join("; ", Control.All.Select(one => $"{one.Name} ({one.Scenario.Name})"))}
    """)
{
    seconds, model, seed,
};
control.SetAction(async (parsed, _) =>
{
    ScenarioRun soak = Soak(parsed);
    bool all = true;
    foreach (Control one in Control.All)
    {
        var (good, line) = await one.RunAsync(soak, parsed.GetRequiredValue(seconds)).ConfigureAwait(false);
        await Console.Out.WriteLineAsync(line).ConfigureAwait(false);
        all &= good;
    }

    return (int)(all ? ExitCode.Success : ExitCode.Failed);
});

var throughput = new Command(
    "throughput",
    """
    What a pool costs: many callers against one call with all texts, one call against the model alone, and workers against threads,
    as ratios of one run.
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
    Holds a StellaInterop pool to its promises under load.

    Exit codes: 0 good, 1 a promise is broken, 2 wrong usage.
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
