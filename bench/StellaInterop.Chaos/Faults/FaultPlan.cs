namespace StellaInterop.Chaos.Faults;

/// <summary>Represents a fault to come.</summary>
/// <param name="At">The time since the start of the faults.</param>
/// <param name="Kind">The fault.</param>
/// <param name="Node">The number of the node, also of one that joins; 0 if the fault is not of a node.</param>
/// <param name="Length">The time until the fault is over, such as that of a restart.</param>
internal sealed record PlannedFault(TimeSpan At, FaultKind Kind, int Node, TimeSpan Length);

/// <summary>Plans the faults of a run. Equal seeds have equal plans.</summary>
internal static class FaultPlan
{
    /// <summary>The nodes at the start, which are targets of the faults.</summary>
    public const int Nodes = 4;

    /// <summary>The nodes that may join, of one machine with a few cores.</summary>
    private const int JoinLimit = 2;

    /// <summary>The average time between the begins of two faults.</summary>
    private const double UsualGap = 8;

    /// <summary>The seconds before the first fault, in which the cluster forms.</summary>
    private const double Quiet = 2;

    /// <summary>Plans faults: each kind once in random order, then random ones.</summary>
    /// <param name="seed">The seed.</param>
    /// <param name="time">The time in which all faults begin and end.</param>
    /// <param name="kinds">The faults that this machine allows.</param>
    public static IReadOnlyList<PlannedFault> Create(int seed, TimeSpan time, IReadOnlyList<FaultKind> kinds)
    {
        var random = new Random(seed);
        FaultKind[] first = [.. kinds];
        random.Shuffle(first);
        // Each kind has its turn, however short the time is.
        double gap = Math.Min(UsualGap, (time.TotalSeconds - Quiet) / (first.Length + 1));
        var faults = new List<PlannedFault>();
        // The end of the last fault of each node, and of the things that are there once, which are node 0.
        double[] busyUntil = new double[Nodes + 1];
        int joined = 0;
        double at = Quiet;
        for (int i = 0; at < time.TotalSeconds; at += gap * (0.5 + random.NextDouble()), i++)
        {
            FaultKind kind = i < first.Length ? first[i] : kinds[random.Next(kinds.Count)];
            if (IsJoin(kind) && i >= first.Length && joined == JoinLimit)
            {
                kind = FaultKind.KillNode;
            }

            double length = Math.Min(LengthOf(kind, random), time.TotalSeconds - Quiet);
            double start = Math.Min(at, time.TotalSeconds - length);
            int target = TargetOf(kind, random, busyUntil, start);
            start = Math.Min(Math.Max(start, busyUntil[target]), time.TotalSeconds - length);
            busyUntil[target] = Math.Max(busyUntil[target], start + length);
            int node = IsJoin(kind) ? Nodes + ++joined : target;
            faults.Add(new PlannedFault(TimeSpan.FromSeconds(start), kind, node, TimeSpan.FromSeconds(length)));
        }

        return [.. faults.OrderBy(fault => fault.At)];
    }

    private static bool IsJoin(FaultKind kind) => kind is FaultKind.Join or FaultKind.OtherModel;

    /// <summary>Returns the seconds of a fault. A lease lasts 20 s, and the failure detection of Orleans takes about 15 s.</summary>
    private static double LengthOf(FaultKind kind, Random random) => kind switch
    {
        FaultKind.PauseNode => random.Next(22, 33),
        FaultKind.LongPartition => random.Next(25, 36),
        FaultKind.StopPostgres => random.Next(4, 16),
        FaultKind.ShortPartition => random.Next(3, 9),
        FaultKind.FullDisk => random.Next(4, 11),
        FaultKind.OtherModel => random.Next(15, 26),
        FaultKind.KillNode or FaultKind.StopNode => random.Next(0, 9),
        _ => 0,
    };

    /// <summary>Returns a node that has no fault at a time, if there is one, or 0 for what is not of a node.</summary>
    private static int TargetOf(FaultKind kind, Random random, double[] busyUntil, double start)
    {
        if (IsJoin(kind) || kind is FaultKind.StopPostgres or FaultKind.FullDisk or FaultKind.KillSubmitter)
        {
            return 0;
        }

        int[] free = [.. Enumerable.Range(1, Nodes).Where(node => busyUntil[node] <= start)];
        return free.Length > 0 ? free[random.Next(free.Length)] : random.Next(1, Nodes + 1);
    }
}
