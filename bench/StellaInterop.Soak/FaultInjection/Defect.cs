using StellaInterop.Soak.Memory;

namespace StellaInterop.Soak.FaultInjection;

/// <summary>A defect that <c>control</c> plants and that a broken promise must reveal.</summary>
internal sealed record Defect
{
    public static Defect None { get; } = new();

    /// <summary>Sessions are not freed.</summary>
    public bool LeaksSessions { get; init; }

    /// <summary>One forward pass in this number, on average, returns a vector with a wrong element; 0 for none.</summary>
    public int WrongOneIn { get; init; }

    /// <summary>Memory is allocated and kept.</summary>
    public PlantedLeak? Leak { get; init; }

    /// <summary>Forward passes after that of a poisonous text fail as well, regardless of their texts.</summary>
    public bool SpreadsFaults { get; init; }

    /// <summary>The tokens of two texts are swapped, as if the caller's array had been read again after the caller changed it.</summary>
    public bool SwapsTexts { get; init; }

    /// <summary>The pool sees no difference between the files of two loads.</summary>
    public bool HidesFileStamp { get; init; }

    /// <summary>Loads keep failing when they should succeed again.</summary>
    public bool NeverHeals { get; init; }

    /// <summary>A worker thread is neither started nor refused, so that the pool counts a worker that does not run.</summary>
    public bool LosesThreads { get; init; }

    /// <summary>Texts are embedded without their prompt.</summary>
    public bool DropsPrompts { get; init; }

    /// <summary>Interactive calls are treated as bulk calls.</summary>
    public bool IgnoresPriority { get; init; }

    /// <summary>Delay of the pool's timers in seconds.</summary>
    public double LateTimers { get; init; }
}
