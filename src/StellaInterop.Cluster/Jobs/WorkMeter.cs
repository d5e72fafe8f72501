namespace StellaInterop.Cluster.Jobs;

/// <summary>Measures the speed of the nodes of a job over the last minute. Not thread-safe.</summary>
internal sealed class WorkMeter(TimeProvider clock)
{
    private static readonly TimeSpan Window = TimeSpan.FromMinutes(1);

    private readonly Dictionary<string, int> parts = new(StringComparer.Ordinal);
    private readonly Queue<(long Time, string Node, long Rows, long Tokens, long Estimate)> done = [];
    private long start = clock.GetTimestamp();

    /// <summary>Records a part.</summary>
    /// <param name="node">Who made it.</param>
    /// <param name="rows">Its rows.</param>
    /// <param name="tokens">Its tokens.</param>
    /// <param name="estimate">Its estimated tokens.</param>
    public void Add(string node, long rows, long tokens, long estimate)
    {
        parts[node] = parts.GetValueOrDefault(node) + 1;
        done.Enqueue((clock.GetTimestamp(), node, rows, tokens, estimate));
    }

    /// <summary>Begins to measure anew, after a time in which nobody was to work.</summary>
    public void Restart()
    {
        done.Clear();
        start = clock.GetTimestamp();
    }

    /// <summary>Returns rows, tokens and estimated tokens in a second.</summary>
    public (double Rows, double Tokens, double Estimate) Speed()
    {
        double seconds = Trim();
        return (done.Sum(part => part.Rows) / seconds, done.Sum(part => part.Tokens) / seconds, done.Sum(part => part.Estimate) / seconds);
    }

    /// <summary>Lists the work of each node that made a part lately, or works on one.</summary>
    /// <param name="leases">The nodes of the leases that have not ended.</param>
    public IReadOnlyList<NodeWork> Nodes(IEnumerable<string> leases)
    {
        double seconds = Trim();
        Dictionary<string, long> tokens = done.GroupBy(part => part.Node).ToDictionary(group => group.Key, group => group.Sum(part => part.Tokens));
        Dictionary<string, int> held = leases.GroupBy(node => node).ToDictionary(group => group.Key, group => group.Count());
        return
        [
            .. tokens.Keys.Union(held.Keys).Order(StringComparer.Ordinal).Select(node => new NodeWork(
                node, parts.GetValueOrDefault(node), tokens.GetValueOrDefault(node) / seconds, held.GetValueOrDefault(node))),
        ];
    }

    /// <summary>Forgets what is older than the window, and returns the seconds of the rest.</summary>
    private double Trim()
    {
        long now = clock.GetTimestamp();
        while (done.TryPeek(out var oldest) && clock.GetElapsedTime(oldest.Time, now) > Window)
        {
            _ = done.Dequeue();
        }

        TimeSpan elapsed = clock.GetElapsedTime(start, now);
        return Math.Max(1, (elapsed < Window ? elapsed : Window).TotalSeconds);
    }
}
