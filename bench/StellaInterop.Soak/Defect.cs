namespace StellaInterop.Soak;

/// <summary>The source of the memory of a planted leak.</summary>
internal enum LeakKind
{
    /// <summary>Arrays on the managed heap.</summary>
    Managed,

    /// <summary>Blocks of <c>malloc</c>.</summary>
    Malloc,

    /// <summary>Pages of <c>mmap</c>, touched.</summary>
    Pages,
}

/// <summary>Memory that is taken step by step and kept until the scenario ends.</summary>
/// <param name="Kind">The source.</param>
/// <param name="BytesPerMinute">How fast.</param>
/// <param name="Until">The part of the scenario in which it is taken: 1 for a leak, less for a plateau.</param>
internal sealed record PlantedLeak(LeakKind Kind, double BytesPerMinute, double Until = 1);

/// <summary>A defect that <c>control</c> plants, and that a promise must find.</summary>
internal sealed record Defect
{
    public static Defect None { get; } = new();

    /// <summary>Sessions are not freed.</summary>
    public bool LeaksSessions { get; init; }

    /// <summary>One forward in so many returns one number of a vector that is wrong; 0 for none.</summary>
    public int WrongOneIn { get; init; }

    /// <summary>Memory is taken and kept.</summary>
    public PlantedLeak? Leak { get; init; }

    /// <summary>Forwards after that of a poisonous text fail as well, whatever their texts.</summary>
    public bool SpreadsFaults { get; init; }

    /// <summary>The tokens of two texts of a part are exchanged, as if the caller's array had been read again too late.</summary>
    public bool SwapsTexts { get; init; }

    /// <summary>The pool sees no difference between the files of two loads.</summary>
    public bool HidesFileStamp { get; init; }

    /// <summary>Loads that should work again fail.</summary>
    public bool NeverHeals { get; init; }

    /// <summary>The pool believes that a thread runs which was never started.</summary>
    public bool LosesThreads { get; init; }

    /// <summary>Texts are embedded without their prompt.</summary>
    public bool DropsPrompts { get; init; }

    /// <summary>Interactive calls are treated as bulk calls.</summary>
    public bool IgnoresPriority { get; init; }

    /// <summary>Seconds that timers of the pool fire late.</summary>
    public double LateTimers { get; init; }
}
