using StellaInterop.Soak.Scripts;

namespace StellaInterop.Soak;

/// <summary>Load on a pool for a while.</summary>
/// <param name="Name">Its name on the command line and in the table.</param>
/// <param name="What">The load in a few words.</param>
/// <param name="Share">Its part of the time, in relation to the others.</param>
/// <param name="Callers">Callers at once.</param>
/// <param name="Traffic">The calls of a caller.</param>
/// <param name="Pool">Changes the options of the default pool.</param>
internal sealed record Scenario(
    string Name, string What, int Share, int Callers, Traffic Traffic, Func<StellaPoolOptions, StellaPoolOptions> Pool)
{
    private const string StormPromise = "one right answer to every call, within the queue's limits; nothing is left";

    /// <summary>The promise that the scenario checks, beside those of all scenarios.</summary>
    public string Promise { get; init; } = StormPromise;

    /// <summary>Makes the script of a scenario that is more than callers at once.</summary>
    public Func<IScript>? Script { get; init; }

    /// <summary>Faults of the model.</summary>
    public Faults Faults { get; init; } = new();

    /// <summary>Seconds after which the pool is drained and another takes its place; 0 for never.</summary>
    public double RecreateEvery { get; init; }

    /// <summary>Whether the memory budget has room for the model and one worker alone.</summary>
    public bool HasTightMemory { get; init; }

    /// <summary>A caller beside the others with bulk calls of this many texts; 0 for none.</summary>
    public int BulkTexts { get; init; }

    /// <summary>All scenarios, in the order in which they run.</summary>
    public static IReadOnlyList<Scenario> All { get; } =
    [
        new("steady", "as many callers as the pool serves", 1, 16, new Traffic(), pool => pool),
        new(
            "overload", "many times what the pool can do", 2, 96, new Traffic { Texts = 4 },
            pool => pool with { MaxQueuedCalls = 8 }),
        new(
            "cancel storm", "most calls are taken back or have hardly any time", 2, 48,
            new Traffic { Texts = 6, CancelOneIn = 2, ShortTimeoutOneIn = 3 }, pool => pool with { MaxWorkers = 2 }),
        new("panics", "one forward in a hundred panics", 2, 24, new Traffic { Texts = 3 }, pool => pool with { CircuitBreaker = new() { ReplacementThreshold = 1000 } })
        {
            Faults = new Faults { PanicOneIn = 100 },
        },
        new("guilty texts", "one text in two hundred has no vector", 1, 24, new Traffic { Texts = 8, Report = true }, pool => pool)
        {
            Faults = new Faults { FaultyTextOneIn = 200 },
        },
        new("slow worker", "one forward in fifty takes 200 ms longer", 1, 24, new Traffic { ShortTimeoutOneIn = 10 }, pool => pool with { MaxWorkers = 2 })
        {
            Faults = new Faults { SlowOneIn = 50, SlowFor = TimeSpan.FromMilliseconds(200) },
        },
        new(
            "memory squeeze", "room for one worker, four are wanted", 1, 24, new Traffic { Texts = 8 },
            pool => pool with { MaxWorkers = 4, MaxQueuedTokens = 1 << 20 })
        {
            HasTightMemory = true,
        },
        new(
            "reload", "the pool is drained and made anew under load", 2, 16, new Traffic(),
            pool => pool with { MinWorkers = 0, IdleTimeout = TimeSpan.FromMilliseconds(400) })
        {
            RecreateEvery = 1,
        },
        new("bulk", "a call of ten thousand texts beside a trickle of single ones", 2, 4, new Traffic { Pause = TimeSpan.FromMilliseconds(20) }, pool => pool)
        {
            BulkTexts = 10_000,
        },
        new(
            "mixed", "dimensions, prompts, priorities and waiting, with the cache on", 2, 32,
            new Traffic { Texts = 6, CancelOneIn = 20, ShortTimeoutOneIn = 20, Mixed = true },
            pool => pool with { MaxCacheBytes = 1 << 20, MaxWorkers = 2, MaxQueuedCalls = 24 }),
        Scripted(
            "bulk-flood", 2, () => new BulkFlood(),
            "a text every 10 ms beside 200 waiting bulk calls and 40 bulk streams",
            "no interactive call is refused or fails; its median is at most 3 x that of an idle pool + one full batch"),
        Scripted(
            "no-threads", 2, () => new NoThreads(),
            "the system refuses threads, now and then and for a time",
            "every call has a vector or a typed error; no worker is counted that does not run; the pool grows back and can be disposed"),
        Scripted(
            "poison-single", 1, () => new PoisonSingle(),
            "one text that always fails, and one head, again and again",
            "all other callers get their vectors, with the default breaker"),
        Scripted(
            "long-prompt", 1, () => new LongPrompt(),
            "queries of 1 to 20 texts with prompts of 300 words",
            "every call is answered, without a timeout"),
        Scripted(
            "refilled-buffers", 1, () => new RefilledBuffers(),
            "callers refill their texts and memory under their own calls",
            "honest callers get the bits of their own texts, with the cache on"),
        Scripted(
            "failing-load", 1, () => new FailingLoad(),
            "loads fail for a while, then work",
            "health is unhealthy meanwhile, and healthy again without a call"),
        Scripted(
            "slow-load", 1, () => new SlowLoad(),
            "a load takes longer than SlowLoadThreshold",
            "health is degraded with a reason, then healthy; deadlines hold meanwhile"),
        Scripted(
            "replaced-files", 2, () => new ReplacedFiles(),
            "another model's weights take the place of the folder's",
            "every vector is that of the files of its load, or the error is typed"),
    ];

    /// <summary>Returns the scenario of a name.</summary>
    public static Scenario Named(string name) => All.First(scenario => scenario.Name == name);

    /// <summary>Reads names that are separated by commas, or <c>all</c>.</summary>
    /// <exception cref="FormatException">A name is unknown; the message lists all names.</exception>
    public static IReadOnlyList<Scenario> ParseList(string list) => list == "all"
        ? All
        : [.. list.Split(',', StringSplitOptions.TrimEntries).Select(name =>
            All.FirstOrDefault(scenario => scenario.Name == name)
            ?? throw new FormatException($"Unknown scenario '{name}'. The scenarios are {string.Join(", ", All.Select(scenario => scenario.Name))}."))];

    private static Scenario Scripted(string name, int share, Func<IScript> script, string what, string promise) =>
        new(name, what, share, 0, new Traffic(), pool => pool) { Script = script, Promise = promise };
}

/// <summary>The calls that one caller makes, again and again.</summary>
internal sealed record Traffic
{
    /// <summary>Texts of a call, 1 to this.</summary>
    public int Texts { get; init; } = 1;

    /// <summary>One call in so many is taken back within some milliseconds; 0 for none.</summary>
    public int CancelOneIn { get; init; }

    /// <summary>One call in so many has some milliseconds; 0 for none.</summary>
    public int ShortTimeoutOneIn { get; init; }

    /// <summary>Whether failed texts are to be reported.</summary>
    public bool Report { get; init; }

    /// <summary>Whether calls differ in dimension, prompt, priority and what they do when the queue is full.</summary>
    public bool Mixed { get; init; }

    /// <summary>Time between two calls.</summary>
    public TimeSpan Pause { get; init; }

    /// <summary>Whether a call that is not completed breaks a promise.</summary>
    public bool MustComplete { get; init; }

    /// <summary>Tells whether the error of a failed call was made on purpose.</summary>
    public Func<StellaException, bool> IsExpectedError { get; init; } = static error => error.InnerException is StellaException { Message: Poison.Panic };
}

/// <summary>Faults of a model that a scenario asks for: one in so many forwards or texts, by chance; 0 for none.</summary>
internal sealed record Faults
{
    public int PanicOneIn { get; init; }

    public int FaultyTextOneIn { get; init; }

    public int SlowOneIn { get; init; }

    public TimeSpan SlowFor { get; init; }

    /// <summary>Whether the texts of <see cref="Poison"/> fail.</summary>
    public bool Poisonous { get; init; }

    /// <summary>The dimension of a head that fails; 0 for none.</summary>
    public int MissingHead { get; init; }
}
