namespace StellaInterop.Chaos.Faults;

/// <summary>Represents a fault to come.</summary>
/// <param name="At">The time since the start of the faults.</param>
/// <param name="Kind">The fault.</param>
/// <param name="Target">The number of the node, also of one that joins; other numbers if the fault is not of a node.</param>
/// <param name="Length">The time until the fault is over, such as that of a restart.</param>
internal sealed record PlannedFault(TimeSpan At, FaultKind Kind, int Target, TimeSpan Length)
{
    /// <summary>Gets whether the target is a node.</summary>
    public bool IsOfNode => Kind is not (FaultKind.StopPostgres or FaultKind.KillSubmitter or FaultKind.FullDisk);
}

/// <summary>Plans the faults of a run. Equal seeds have equal plans.</summary>
internal static class FaultPlan
{
    /// <summary>The nodes at the start, which are targets of the faults.</summary>
    public const int Nodes = 4;

    /// <summary>The nodes that may join: one machine with a few cores runs all of them.</summary>
    public const int JoinLimit = 2;

    /// <summary>The average time between the begins of two faults.</summary>
    private const double UsualGap = 8;

    /// <summary>The seconds before the first fault, in which the cluster forms.</summary>
    private const double Quiet = 2;

    /// <summary>The targets that are no nodes.</summary>
    private const int Postgres = 0;

    private const int Submitter = Nodes + JoinLimit + 1;
    private const int Disk = Submitter + 1;

    /// <summary>Plans faults: each kind at least once, at random times and for random targets.</summary>
    /// <param name="seed">The seed.</param>
    /// <param name="time">The time in which all faults begin and end.</param>
    /// <param name="kinds">The faults that this machine allows.</param>
    public static IReadOnlyList<PlannedFault> Create(int seed, TimeSpan time, IReadOnlyList<FaultKind> kinds)
    {
        var random = new Random(seed);
        while (true)
        {
            PlannedFault[] faults = [.. Draw(random, time.TotalSeconds, kinds)];
            // A fault that would last too long is left out, so some draws lack a kind.
            if (kinds.All(kind => Array.Exists(faults, fault => fault.Kind == kind)))
            {
                return faults;
            }
        }
    }

    /// <summary>Draws each kind in random order, then random ones.</summary>
    private static IEnumerable<PlannedFault> Draw(Random random, double seconds, IReadOnlyList<FaultKind> kinds)
    {
        FaultKind[] first = [.. kinds];
        random.Shuffle(first);
        double gap = Math.Min(UsualGap, (seconds - Quiet) / (first.Length + 1));
        // The end of the last fault of each target. The nodes have their numbers.
        double[] busyUntil = new double[Disk + 1];
        int joined = 0;
        double at = Quiet;
        for (int i = 0; at < seconds; i++)
        {
            FaultKind kind = i < first.Length ? first[i] : kinds[random.Next(kinds.Count)];
            double length = LengthOf(kind, random);
            int[] free = [.. TargetsOf(kind, joined).Where(target => busyUntil[target] <= at)];
            if (at + length <= seconds && free.Length > 0)
            {
                int target = free[random.Next(free.Length)];
                busyUntil[target] = at + length;
                joined += IsJoin(kind) ? 1 : 0;
                yield return new PlannedFault(TimeSpan.FromSeconds(at), kind, target, TimeSpan.FromSeconds(length));
            }

            at += gap * (0.5 + random.NextDouble());
        }
    }

    private static bool IsJoin(FaultKind kind) => kind is FaultKind.Join or FaultKind.OtherModel;

    /// <summary>Returns the targets of a fault.</summary>
    /// <param name="kind">The fault.</param>
    /// <param name="joined">The nodes that have joined.</param>
    private static IEnumerable<int> TargetsOf(FaultKind kind, int joined) => kind switch
    {
        FaultKind.StopPostgres => [Postgres],
        FaultKind.KillSubmitter => [Submitter],
        FaultKind.FullDisk => [Disk],
        FaultKind.Join or FaultKind.OtherModel => joined < JoinLimit ? [Nodes + 1 + joined] : [],
        _ => Enumerable.Range(1, Nodes),
    };

    /// <summary>Returns the seconds of a fault. A lease lasts 20 s, and the failure detection of Orleans takes about 15 s.</summary>
    private static double LengthOf(FaultKind kind, Random random) => kind switch
    {
        FaultKind.PauseNode => random.Next(22, 33),
        FaultKind.LongPartition => random.Next(25, 36),
        FaultKind.StopPostgres => random.Next(4, 16),
        FaultKind.ShortPartition => random.Next(3, 9),
        FaultKind.FullDisk => random.Next(4, 11),
        FaultKind.KillNode or FaultKind.StopNode => random.Next(0, 9),
        _ => 0,
    };
}
