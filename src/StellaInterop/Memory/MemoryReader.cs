namespace StellaInterop.Memory;

/// <summary>Reads what limits the process and what it uses. Reads anew each time; keeps nothing. Thread-safe.</summary>
internal sealed class MemoryReader(StellaMemoryGovernorOptions options)
{
    /// <summary>Reads everything.</summary>
    /// <param name="timestamp">The time to note with it.</param>
    public MemoryReading Read(long timestamp)
    {
        string? process = SystemText.TryRead(Path.Combine(options.ProcRoot, "self/status"));
        // RssAnon leaves out mapped files, which a load would count twice beside what it copies from them.
        long measured = SystemText.Field(process, "RssAnon") ?? SystemText.Field(process, "VmRSS") ?? Environment.WorkingSet;

        var notUnderstood = new List<string>();
        MemoryLimit tightest = Limits(measured, notUnderstood).MinBy(limit => limit.Left)!;
        return new MemoryReading(timestamp, measured, tightest, notUnderstood);
    }

    private IEnumerable<MemoryLimit> Limits(long measured, List<string> notUnderstood)
    {
        if (options.LimitBytes is { } own)
        {
            // Who names a number has chosen the headroom with it, and nothing kills a process that goes beyond it.
            yield return new MemoryLimit("LimitBytes of the options", own, Headroom: 0, Others: 0);
        }

        yield return Machine(measured);

        string? membership = SystemText.TryRead(Path.Combine(options.ProcRoot, "self/cgroup"));
        foreach (CgroupLimit limit in CgroupLimits.Read(options.CgroupRoot, membership, notUnderstood))
        {
            // A group without a limit needs no rule: what version 1 writes then is beyond any machine.
            yield return new MemoryLimit(
                limit.Name, limit.Bytes, options.HeadroomOf(limit.Bytes), Saturating.Subtract(limit.Used, measured));
        }
    }

    /// <summary>The memory of the machine. What others use of it is all that is neither available nor this process's own.</summary>
    private MemoryLimit Machine(long measured)
    {
        string file = Path.Combine(options.ProcRoot, "meminfo");
        string? text = SystemText.TryRead(file);
        long? total = SystemText.Field(text, "MemTotal");
        long? reachable = SystemText.Field(text, "MemAvailable") is { } available ? Saturating.Add(available, measured) : null;
        (string name, long bytes) = (reachable, total) switch
        {
            ({ } most, _) => ($"MemAvailable of {file}", total ?? most),
            (null, { } all) => ($"MemTotal of {file}", all),
            // What the collector takes for the machine: three quarters of a container's limit, or its own hard limit.
            _ => ("GCMemoryInfo.TotalAvailableMemoryBytes", GC.GetGCMemoryInfo().TotalAvailableMemoryBytes),
        };
        return new MemoryLimit(name, bytes, options.HeadroomOf(bytes), Saturating.Subtract(bytes, reachable ?? bytes));
    }
}
