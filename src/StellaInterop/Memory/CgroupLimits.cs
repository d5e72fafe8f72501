namespace StellaInterop.Memory;

/// <summary>Represents a memory limit of a control group (cgroup), such as the limit of a container.</summary>
/// <param name="Source">The file that sets the limit.</param>
/// <param name="Bytes">The limit.</param>
/// <param name="Used">The bytes that all processes of the group use, without memory that the system can reclaim.</param>
internal readonly record struct CgroupLimit(string Source, long Bytes, long Used);

/// <summary>
/// Reads the memory limits of the control group (cgroup) of this process and of every mounted group above it, in version 1 and 2.
/// </summary>
internal static class CgroupLimits
{
    private static readonly Version Version2 = new(
        "memory.max memory.high",
        StatLimit: null,
        "anon shmem sock kernel_stack pagetables percpu slab_unreclaimable");

    // A container does not see the groups above its mount. hierarchical_memory_limit includes their limits.
    private static readonly Version Version1 = new(
        "memory.limit_in_bytes", "hierarchical_memory_limit", "total_rss total_shmem");

    /// <summary>Returns the limits.</summary>
    /// <param name="mount">The folder where control groups are mounted.</param>
    /// <param name="membership">The text of <c>/proc/self/cgroup</c>.</param>
    /// <param name="unparsed">Receives the files whose content is not a limit.</param>
    public static IEnumerable<CgroupLimit> Read(string mount, string? membership, List<string> unparsed)
    {
        foreach (string line in (membership ?? string.Empty).Split('\n'))
        {
            // hierarchy:controllers:path, where the path may contain colons.
            if (line.Split(':', 3) is not [var hierarchy, var controllers, ['/', ..] path])
            {
                continue;
            }

            (Version? version, string root) = (hierarchy, controllers) switch
            {
                ("0", "") => (Version2, UnifiedMount(mount)),
                _ when controllers.Split(',').Contains("memory") => (Version1, Path.Combine(mount, "memory")),
                _ => (null, mount),
            };
            if (version is not null)
            {
                foreach (string group in GroupAndParents(root, path.Trim('/')))
                {
                    foreach (CgroupLimit limit in version.Read(group, unparsed))
                    {
                        yield return limit;
                    }
                }
            }
        }
    }

    /// <summary>Returns the mount of version 2, which has its own folder if version 1 is mounted too.</summary>
    private static string UnifiedMount(string mount)
    {
        string unified = Path.Combine(mount, "unified");
        return Directory.Exists(unified) ? unified : mount;
    }

    private static IEnumerable<string> GroupAndParents(string root, string path)
    {
        // In a container the path may be that of the host, of which only the mount itself exists: a missing folder sets no limit. A path
        // with ".." leads out of the mount.
        if (path.Split('/').Contains(".."))
        {
            path = string.Empty;
        }

        while (path.Length > 0)
        {
            yield return Path.Combine(root, path);
            path = path[..Math.Max(0, path.LastIndexOf('/'))];
        }

        yield return root;
    }

    /// <summary>The file and key names of one cgroup version. Each list is separated by blanks.</summary>
    /// <param name="LimitFiles">The files that contain a limit and nothing else.</param>
    /// <param name="StatLimit">The key of a limit within <c>memory.stat</c>.</param>
    /// <param name="UsedInStat">
    /// The keys in <c>memory.stat</c> of memory that the system cannot reclaim. They exclude the page cache.
    /// </param>
    private sealed record Version(string LimitFiles, string? StatLimit, string UsedInStat)
    {
        private const string Stat = "memory.stat";

        public IEnumerable<CgroupLimit> Read(string group, List<string> unparsed)
        {
            string statFile = Path.Combine(group, Stat);
            string? stat = SystemText.TryRead(statFile);
            long used = Saturating.Sum(UsedInStat.Split(' '), key => SystemText.Field(stat, key) ?? 0);
            foreach (string file in LimitFiles.Split(' ').Select(name => Path.Combine(group, name)))
            {
                string? text = SystemText.TryRead(file)?.Trim();
                if (SystemText.Bytes(text) is { } bytes)
                {
                    yield return new CgroupLimit(file, bytes, used);
                }
                else if (text is not (null or "max"))
                {
                    unparsed.Add(file);
                }
            }

            if (StatLimit is not null && SystemText.Field(stat, StatLimit) is { } statBytes)
            {
                yield return new CgroupLimit($"{StatLimit} of {statFile}", statBytes, used);
            }
        }
    }
}
