namespace StellaInterop.Soak;

/// <summary>What is done to a pool for a while.</summary>
/// <param name="Name">Its name on the command line and in the table.</param>
/// <param name="What">In a few words.</param>
/// <param name="Share">Its part of the time, in relation to the others.</param>
/// <param name="Callers">Callers at once.</param>
/// <param name="Traffic">What a caller asks for.</param>
/// <param name="Pool">What is different from the default pool.</param>
internal sealed record Scenario(
    string Name, string What, int Share, int Callers, Traffic Traffic, Func<StellaPoolOptions, StellaPoolOptions> Pool)
{
    /// <summary>What the model does wrong.</summary>
    public Faults Faults { get; init; } = new();

    /// <summary>Seconds after which the pool is drained and another takes its place; 0 for never.</summary>
    public double RenewEvery { get; init; }

    /// <summary>Whether the memory budget has room for the model and one worker alone.</summary>
    public bool IsTight { get; init; }

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
            new Traffic { Texts = 6, CancelOneIn = 2, HurryOneIn = 3 }, pool => pool with { MaxWorkers = 2 }),
        new("panics", "one forward in a hundred panics", 2, 24, new Traffic { Texts = 3 }, pool => pool with { BreakerReplacements = 1000 })
        {
            Faults = new Faults { PanicOneIn = 100 },
        },
        new("guilty texts", "one text in two hundred has no vector", 1, 24, new Traffic { Texts = 8, Report = true }, pool => pool)
        {
            Faults = new Faults { GuiltyOneIn = 200 },
        },
        new("slow worker", "one forward in fifty takes 200 ms longer", 1, 24, new Traffic { HurryOneIn = 10 }, pool => pool with { MaxWorkers = 2 })
        {
            Faults = new Faults { SlowOneIn = 50, SlowFor = TimeSpan.FromMilliseconds(200) },
        },
        new(
            "memory squeeze", "room for one worker, four are wanted", 1, 24, new Traffic { Texts = 8 },
            pool => pool with { MaxWorkers = 4, MaxQueuedTokens = 1 << 20 })
        {
            IsTight = true,
        },
        new(
            "reload", "the pool is drained and made anew under load", 2, 16, new Traffic(),
            pool => pool with { MinWorkers = 0, IdleTimeout = TimeSpan.FromMilliseconds(400) })
        {
            RenewEvery = 1,
        },
        new("bulk", "a call of ten thousand texts beside a trickle of single ones", 2, 4, new Traffic { Pause = TimeSpan.FromMilliseconds(20) }, pool => pool)
        {
            BulkTexts = 10_000,
        },
        new(
            "mixed", "dimensions, prompts, priorities and waiting, with the cache on", 2, 32,
            new Traffic { Texts = 6, CancelOneIn = 20, HurryOneIn = 20, Mixed = true },
            pool => pool with { CacheBytes = 1 << 20, MaxWorkers = 2, MaxQueuedCalls = 24 }),
    ];

    /// <summary>Reads names that are separated by commas, or <c>all</c>.</summary>
    /// <exception cref="FormatException">One is not known; the message lists those that are.</exception>
    public static IReadOnlyList<Scenario> ParseList(string list) => list == "all"
        ? All
        : [.. list.Split(',', StringSplitOptions.TrimEntries).Select(name =>
            All.FirstOrDefault(scenario => scenario.Name == name)
            ?? throw new FormatException($"'{name}' is no scenario; the scenarios are {string.Join(", ", All.Select(scenario => scenario.Name))}."))];
}

/// <summary>What one caller asks for, again and again.</summary>
internal sealed record Traffic
{
    /// <summary>Texts of a call, 1 to this.</summary>
    public int Texts { get; init; } = 1;

    /// <summary>One call in so many is taken back within some milliseconds; 0 for none.</summary>
    public int CancelOneIn { get; init; }

    /// <summary>One call in so many has some milliseconds; 0 for none.</summary>
    public int HurryOneIn { get; init; }

    /// <summary>Whether failed texts are to be reported.</summary>
    public bool Report { get; init; }

    /// <summary>Whether calls differ in dimension, prompt, priority and what they do when the queue is full.</summary>
    public bool Mixed { get; init; }

    /// <summary>Time between two calls.</summary>
    public TimeSpan Pause { get; init; }
}

/// <summary>What a model is made to do wrong, by chance; 0 for never.</summary>
internal sealed record Faults
{
    public int PanicOneIn { get; init; }

    public int GuiltyOneIn { get; init; }

    public int SlowOneIn { get; init; }

    public TimeSpan SlowFor { get; init; }

    /// <summary>A number of a vector is another one. A defect: nobody could notice but who knows the vector.</summary>
    public int WrongOneIn { get; init; }

    /// <summary>A session is not freed. A defect.</summary>
    public bool LeaksSessions { get; init; }
}
