using System.Globalization;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Memory;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak;

/// <summary>A defect that is planted in a scenario, to prove that <c>run</c> would find it.</summary>
/// <param name="Name">Name in the output.</param>
/// <param name="Scenario">The scenario.</param>
/// <param name="Defect">Creates the defect for a run of the given seconds.</param>
/// <param name="Finding">Part of the message of the broken promise; <see langword="null"/> if no promise may be broken.</param>
internal sealed record Control(string Name, Scenario Scenario, Func<double, Defect> Defect, string? Finding)
{
    /// <summary>Rate of a planted leak in bytes per minute, in a scenario of usual length. A shorter run leaks the same bytes in its shorter time.</summary>
    private const double LeakPerMinute = 1e6;

    /// <summary>Seconds of the shortest scenario in <c>run --seconds 600</c>.</summary>
    public const double UsualSeconds = 22;

    private const double MinSeconds = 1.5;
    private const double MinMemorySeconds = 6;

    public static IReadOnlyList<Control> All { get; } =
    [
        new("leak of sessions", ScenarioList.Named("steady"), _ => new Defect { LeaksSessions = true }, "native handles were not freed"),
        new("leak on the managed heap", ScenarioList.Named("steady"), Leak(LeakKind.Managed), "Memory leaks"),
        new("leak of malloc", ScenarioList.Named("steady"), Leak(LeakKind.Malloc), "Memory leaks"),
        new("leak of pages", ScenarioList.Named("steady"), Leak(LeakKind.Pages), "Memory leaks"),
        new("growth that ends", ScenarioList.Named("steady"), Plateau, Finding: null),
        new("wrong vector", ScenarioList.Named("steady"), _ => new Defect { WrongOneIn = 2 }, "vectors are wrong"),
        new("bulk before interactive", ScenarioList.Named("bulk-flood"), _ => new Defect { IgnoresPriority = true }, "calls that had to complete did not"),
        new("worker without a thread", ScenarioList.Named("no-threads"), _ => new Defect { LosesThreads = true }, "Health counts"),
        new("faults that spread", ScenarioList.Named("poison-single"), _ => new Defect { SpreadsFaults = true }, "calls that had to complete did not"),
        new("prompt that is dropped", ScenarioList.Named("long-prompt"), _ => new Defect { DropsPrompts = true }, "vectors are wrong"),
        new("text of a refilled buffer", ScenarioList.Named("refilled-buffers"), _ => new Defect { SwapsTexts = true }, "vectors are wrong"),
        new("load that never heals", ScenarioList.Named("failing-load"), _ => new Defect { NeverHeals = true }, "did not become healthy"),
        new("timers that are late", ScenarioList.Named("slow-load"), _ => new Defect { LateTimers = 0.3 }, "after their deadline"),
        new("stale cache", ScenarioList.Named("replaced-files"), _ => new Defect { HidesFileStamp = true }, "other files than those of its load"),
    ];

    /// <summary>Runs the scenario with the defect.</summary>
    /// <param name="soak">Runs the scenario.</param>
    /// <param name="total">Seconds for all controls together.</param>
    /// <returns>Whether the outcome is as expected, and a line that reports it.</returns>
    public async Task<(bool Good, string Line)> RunAsync(ScenarioRun soak, double total)
    {
        double min = Defect(UsualSeconds).Leak is null ? MinSeconds : MinMemorySeconds;
        double seconds = Math.Max(min, total / All.Count);
        Defect defect = Defect(seconds);
        ScenarioResult result = await soak.RunAsync(Scenario, TimeSpan.FromSeconds(seconds), defect).ConfigureAwait(false);
        string name = defect.Leak is { } leak
            ? string.Create(CultureInfo.InvariantCulture, $"{Name}, {leak.BytesPerMinute / 1e6:F1} MB a minute for {seconds * leak.Until:F0} of {seconds:F0} s")
            : Name;
        string? first = result.Broken.Count > 0 ? result.Broken[0] : null;
        string? match = Finding is null
            ? first
            : result.Broken.FirstOrDefault(broken => broken.Contains(Finding, StringComparison.Ordinal));
        string others = first is null ? "" : $"; another broken promise: {first}";
        return (Finding is null, match) switch
        {
            (true, null) => (true, $"{name}: correctly not reported"),
            (true, _) => (false, $"{name}: WRONGLY REPORTED, {match}"),
            (false, null) => (false, $"{name}: NOT FOUND{others}"),
            _ => (true, $"{name}: found, {match}"),
        };
    }

    private static Func<double, Defect> Leak(LeakKind kind) =>
        seconds => new Defect { Leak = new PlantedLeak(kind, LeakPerMinute * Math.Max(1, UsualSeconds / seconds)) };

    /// <summary>Grows ten times as fast as a leak, and stops after 60 % of the time.</summary>
    private static Defect Plateau(double seconds) =>
        new() { Leak = new PlantedLeak(LeakKind.Malloc, 10 * LeakPerMinute * Math.Max(1, UsualSeconds / seconds), Until: 0.6) };
}
