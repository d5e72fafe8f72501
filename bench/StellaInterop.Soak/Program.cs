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

var run = new Command(
    "run",
    $"""
    Loads a pool in many ways and holds it to its promises: every call has one answer, the books of callers and of the pool's meter
    agree, every vector has the bits that the model alone gives, the queue keeps its limits, refusals come within 5 ms, and native
    bytes, handles and memory are back at the end. Exit code 1 when one is broken.

    Scenarios: {string.Join("; ", Scenario.All.Select(scenario => $"{scenario.Name}: {scenario.What}"))}
    """)
{
    seconds, model, scenarios, seed,
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
        Progress.Say(string.Create(CultureInfo.InvariantCulture, $"{scenario.Name} for {time.TotalSeconds:F0} s"));
        results.Add(await soak.RunAsync(scenario, time).ConfigureAwait(false));
    }

    SoakTable.Write(results, load.OthersShare(), Console.Out);
    return (int)(results.TrueForAll(result => result.Broken.Count == 0) ? ExitCode.Good : ExitCode.Failed);
});

var control = new Command(
    "control",
    """
    Makes the defects that run must find, one after the other: sessions that are never freed, and a vector of which one number is
    another. Exit code 1 when one is not found.
    """)
{
    seconds, model, seed,
};
control.SetAction(async (parsed, _) =>
{
    Scenario steady = Scenario.All[0];
    bool all = true;
    foreach (var (name, word, defect) in new[]
    {
        ("leak", "handles are left", new Faults { LeaksSessions = true }),
        ("wrong vector", "vectors are wrong", new Faults { WrongOneIn = 10 }),
    })
    {
        ScenarioResult result = await Soak(parsed).RunAsync(
            steady, TimeSpan.FromSeconds(parsed.GetRequiredValue(seconds) / 2.0), defect).ConfigureAwait(false);
        string? found = result.Broken.FirstOrDefault(broken => broken.Contains(word, StringComparison.Ordinal));
        await Console.Out.WriteLineAsync(found is null ? $"{name}: NOT FOUND" : $"{name}: found, {found}").ConfigureAwait(false);
        all &= found is not null;
    }

    return (int)(all ? ExitCode.Good : ExitCode.Failed);
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
    return (int)ExitCode.Good;
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
