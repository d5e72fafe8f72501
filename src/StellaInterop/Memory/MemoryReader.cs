namespace StellaInterop.Memory;

/// <summary>Reads the memory limits of the process and its memory use. Each call reads the files again. Thread-safe.</summary>
internal sealed class MemoryReader(StellaMemoryGovernorOptions options)
{
    /// <summary>Reads the limits and the use.</summary>
    /// <param name="timestamp">The time to record with the reading.</param>
    public MemoryReading Read(long timestamp)
    {
        string? process = TryReadProcess("self/status");
        // RssAnon excludes mapped files. A load copies from them, so they would count twice.
        long measured = SystemText.Field(process, "RssAnon") ?? SystemText.Field(process, "VmRSS") ?? Environment.WorkingSet;

        var unparsed = new List<string>();
        MemoryLimit tightest = Limits(measured, unparsed).MinBy(limit => limit.Usable)!;
        return new MemoryReading(timestamp, measured, tightest, unparsed);
    }

    private IEnumerable<MemoryLimit> Limits(long measured, List<string> unparsed)
    {
        if (options.LimitBytes is { } limitBytes)
        {
            // No headroom: the user chose the limit, and the system does not kill a process that exceeds it.
            yield return new MemoryLimit("LimitBytes of the options", limitBytes, Headroom: 0, UsedByOthers: 0);
        }

        yield return Machine(measured);

        string? membership = TryReadProcess("self/cgroup");
        foreach (CgroupLimit limit in CgroupLimits.Read(options.CgroupRoot, membership, unparsed))
        {
            // A group without a limit needs no special case: cgroup v1 then has a number above the memory of any machine.
            yield return new MemoryLimit(
                limit.Source, limit.Bytes, options.HeadroomOf(limit.Bytes), Saturating.Subtract(limit.Used, measured));
        }
    }

    /// <summary>
    /// Returns the memory of the machine. Other processes use all memory that is neither available nor measured in this process.
    /// </summary>
    private MemoryLimit Machine(long measured)
    {
        string? text = TryReadProcess("meminfo");
        long? total = SystemText.Field(text, "MemTotal");
        long? reachable = SystemText.Field(text, "MemAvailable") is { } available ? Saturating.Add(available, measured) : null;
        (string source, long bytes) = (reachable, total) switch
        {
            ({ } most, _) => ($"MemAvailable of {options.ProcRoot}/meminfo", total ?? most),
            (null, { } all) => ($"MemTotal of {options.ProcRoot}/meminfo", all),
            // The garbage collector's idea of the machine: three quarters of a container's limit, or its own hard limit.
            _ => ("GCMemoryInfo.TotalAvailableMemoryBytes", GC.GetGCMemoryInfo().TotalAvailableMemoryBytes),
        };
        return new MemoryLimit(source, bytes, options.HeadroomOf(bytes), Saturating.Subtract(bytes, reachable ?? bytes));
    }

    /// <summary>Returns the text of a file of the process file system; <see langword="null"/> if it cannot be read.</summary>
    private string? TryReadProcess(string name) => options.ProcRoot is { } root ? SystemText.TryRead(Path.Combine(root, name)) : null;
}
