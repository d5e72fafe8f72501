using System.Globalization;
using StellaInterop.Soak.Memory;

namespace StellaInterop.Soak;

/// <summary>A defect that is planted in a scenario, to see that <c>run</c> would find it.</summary>
/// <param name="Name">Its name in the output.</param>
/// <param name="Scenario">The scenario.</param>
/// <param name="Defect">Makes the defect for a run of so many seconds.</param>
/// <param name="Finding">Words of the broken promise; <see langword="null"/> when no promise may be broken.</param>
internal sealed record Control(string Name, Scenario Scenario, Func<double, Defect> Defect, string? Finding)
{
    /// <summary>A leak of this rate is found in a scenario of a usual length. A shorter run gets the same bytes in its time.</summary>
    private const double LeakPerMinute = 1e6;

    /// <summary>The shortest scenario of <c>run --seconds 600</c>.</summary>
    public const double UsualSeconds = 22;

    private const double MinSeconds = 1.5;
    private const double MinMemorySeconds = 6;

    public static IReadOnlyList<Control> All { get; } =
    [
        new("leak of sessions", Scenario.Named("steady"), _ => new Defect { LeaksSessions = true }, "handles are left"),
        new("leak on the managed heap", Scenario.Named("steady"), Leak(LeakKind.Managed), "memory leaks"),
        new("leak of malloc", Scenario.Named("steady"), Leak(LeakKind.Malloc), "memory leaks"),
        new("leak of pages", Scenario.Named("steady"), Leak(LeakKind.Pages), "memory leaks"),
        new("growth that ends", Scenario.Named("steady"), Plateau, Finding: null),
        new("wrong vector", Scenario.Named("steady"), _ => new Defect { WrongOneIn = 2 }, "vectors are wrong"),
        new("bulk before interactive", Scenario.Named("bulk-flood"), _ => new Defect { IgnoresPriority = true }, "honest callers"),
        new("worker without a thread", Scenario.Named("no-threads"), _ => new Defect { LosesThreads = true }, "health counts"),
        new("faults that spread", Scenario.Named("poison-single"), _ => new Defect { SpreadsFaults = true }, "honest callers"),
        new("prompt that is dropped", Scenario.Named("long-prompt"), _ => new Defect { DropsPrompts = true }, "vectors are wrong"),
        new("text of a refilled buffer", Scenario.Named("refilled-buffers"), _ => new Defect { SwapsTexts = true }, "vectors are wrong"),
        new("load that never heals", Scenario.Named("failing-load"), _ => new Defect { NeverHeals = true }, "did not become healthy"),
        new("timers that are late", Scenario.Named("slow-load"), _ => new Defect { LateTimers = 0.3 }, "after their deadline"),
        new("stale cache", Scenario.Named("replaced-files"), _ => new Defect { HidesFileStamp = true }, "files which are not those of the load"),
    ];

    /// <summary>Runs the scenario with the defect.</summary>
    /// <param name="soak">Runs scenarios.</param>
    /// <param name="total">Seconds of all controls together.</param>
    /// <returns>Whether the outcome is as it must be, and a line that tells it.</returns>
    public async Task<(bool Good, string Line)> RunAsync(ScenarioRun soak, double total)
    {
        double least = Defect(UsualSeconds).Leak is null ? MinSeconds : MinMemorySeconds;
        double seconds = Math.Max(least, total / All.Count);
        Defect defect = Defect(seconds);
        ScenarioResult result = await soak.RunAsync(Scenario, TimeSpan.FromSeconds(seconds), defect).ConfigureAwait(false);
        string name = defect.Leak is { } leak
            ? string.Create(CultureInfo.InvariantCulture, $"{Name}, {leak.BytesPerMinute / 1e6:F1} MB a minute for {seconds * leak.Until:F0} of {seconds:F0} s")
            : Name;
        string? first = result.Broken.Count > 0 ? result.Broken[0] : null;
        string? found = Finding is null
            ? first
            : result.Broken.FirstOrDefault(broken => broken.Contains(Finding, StringComparison.Ordinal));
        string others = first is null ? "" : $"; broken: {first}";
        return (Finding is null, found) switch
        {
            (true, null) => (true, $"{name}: rightly not reported"),
            (true, _) => (false, $"{name}: WRONGLY REPORTED, {found}"),
            (false, null) => (false, $"{name}: NOT FOUND{others}"),
            _ => (true, $"{name}: found, {found}"),
        };
    }

    private static Func<double, Defect> Leak(LeakKind kind) =>
        seconds => new Defect { Leak = new PlantedLeak(kind, LeakPerMinute * Math.Max(1, UsualSeconds / seconds)) };

    /// <summary>Grows by ten times the bytes of a leak, and ends when 60 % of the time is over.</summary>
    private static Defect Plateau(double seconds) =>
        new() { Leak = new PlantedLeak(LeakKind.Malloc, 10 * LeakPerMinute * Math.Max(1, UsualSeconds / seconds), Until: 0.6) };
}
