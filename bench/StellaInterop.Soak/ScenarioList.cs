using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Scenarios;
using StellaInterop.Soak.Scripts;

namespace StellaInterop.Soak;

/// <summary>The scenarios that <c>run</c> and <c>control</c> know by name.</summary>
internal static class ScenarioList
{
    /// <summary>Gets all scenarios, in the order in which they run.</summary>
    public static IReadOnlyList<Scenario> All { get; } =
    [
        new("steady", "16 callers of one text, which the pool can serve", 1, 16, new Traffic(), pool => pool),
        new(
            "overload", "many times the load that the pool can serve", 2, 96, new Traffic { Texts = 4 },
            pool => pool with { MaxQueuedCalls = 8 }),
        new(
            "cancel storm", "most calls are cancelled or have a very short timeout", 2, 48,
            new Traffic { Texts = 6, CancelOneIn = 2, ShortTimeoutOneIn = 3 }, pool => pool with { MaxWorkers = 2 }),
        new("panics", "one forward pass in a hundred panics", 2, 24, new Traffic { Texts = 3 }, pool => pool with { CircuitBreaker = new() { ReplacementThreshold = 1000 } })
        {
            Faults = new Faults { PanicOneIn = 100 },
        },
        new("guilty texts", "one text in two hundred fails", 1, 24, new Traffic { Texts = 8, Report = true }, pool => pool)
        {
            Faults = new Faults { FaultyTextOneIn = 200 },
        },
        new("slow worker", "one forward pass in fifty takes 200 ms longer", 1, 24, new Traffic { ShortTimeoutOneIn = 10 }, pool => pool with { MaxWorkers = 2 })
        {
            Faults = new Faults { SlowOneIn = 50, SlowFor = TimeSpan.FromMilliseconds(200) },
        },
        new(
            "memory squeeze", "the memory budget has room for one of four workers", 1, 24, new Traffic { Texts = 8 },
            pool => pool with { MaxWorkers = 4, MaxQueuedTokens = 1 << 20 })
        {
            HasTightMemory = true,
        },
        new(
            "reload", "the pool is drained and replaced under load", 2, 16, new Traffic(),
            pool => pool with { MinWorkers = 0, IdleTimeout = TimeSpan.FromMilliseconds(400) })
        {
            RecreateEvery = 1,
        },
        new("bulk", "calls of ten thousand texts beside occasional calls of one text", 2, 4, new Traffic { Pause = TimeSpan.FromMilliseconds(20) }, pool => pool)
        {
            BulkTexts = 10_000,
        },
        new(
            "mixed", "mixed dimensions, prompts, priorities and queue modes, with the cache on", 2, 32,
            new Traffic { Texts = 6, CancelOneIn = 20, ShortTimeoutOneIn = 20, Mixed = true },
            pool => pool with { MaxCacheBytes = 1 << 20, MaxWorkers = 2, MaxQueuedCalls = 24 }),
        Scripted(
            "bulk-flood", 2, () => new BulkFlood(),
            "one text every 10 ms beside 200 queued bulk calls and 40 bulk streams",
            "no interactive call is refused or fails; the median latency is at most 3 x that of the idle pool + one full batch"),
        Scripted(
            "no-threads", 2, () => new NoThreads(),
            "the system refuses threads, at random or for some time",
            "every call has a vector or a typed error; health counts only running workers; the pool grows back and can be disposed"),
        Scripted(
            "poison-single", 1, () => new PoisonSingle(),
            "repeated calls with a text that always fails, or for a head that always fails",
            "all other callers get their vectors, with the default circuit breaker"),
        Scripted(
            "long-prompt", 1, () => new LongPrompt(),
            "queries of 1 to 20 texts with prompts of 300 words",
            "every call is answered, without a timeout"),
        Scripted(
            "refilled-buffers", 1, () => new RefilledBuffers(),
            "callers overwrite their texts and destination memory during their calls",
            "other callers get the right bits for their own texts, with the cache on"),
        Scripted(
            "failing-load", 1, () => new FailingLoad(),
            "loads fail for a while, then succeed",
            "health is Unhealthy while loads fail, and Healthy again without a call"),
        Scripted(
            "slow-load", 1, () => new SlowLoad(),
            "a load takes longer than SlowLoadThreshold",
            "health is Degraded with a reason, then Healthy; deadlines hold during the load"),
        Scripted(
            "replaced-files", 2, () => new ReplacedFiles(),
            "the weights in the folder are replaced by those of another model",
            "every vector belongs to the files of its load, or the call has a typed error"),
    ];

    /// <summary>Returns the scenario with a name.</summary>
    public static Scenario Named(string name) => All.First(scenario => scenario.Name == name);

    /// <summary>Parses a comma-separated list of names, or <c>all</c>.</summary>
    /// <exception cref="FormatException">A name is unknown; the message lists all names.</exception>
    public static IReadOnlyList<Scenario> Parse(string list) => list == "all"
        ? All
        : [.. list.Split(',', StringSplitOptions.TrimEntries).Select(name =>
            All.FirstOrDefault(scenario => scenario.Name == name)
            ?? throw new FormatException($"Unknown scenario '{name}'. The scenarios are {string.Join(", ", All.Select(scenario => scenario.Name))}."))];

    private static Scenario Scripted(string name, int share, Func<IScript> script, string load, string promise) =>
        new(name, load, share, 0, new Traffic(), pool => pool) { Script = script, Promise = promise };
}
