namespace StellaInterop.Memory;

/// <summary>A limit of a control group, and what all of the group's processes hold under it.</summary>
internal readonly record struct CgroupLimit(string Name, long Bytes, long Used);

/// <summary>
/// The memory limits of the control group of this process and of every group around it, as far as they are mounted.
/// </summary>
internal static class CgroupLimits
{
    private static readonly Version Version2 = new(
        "memory.max memory.high",
        StatLimit: null,
        "anon shmem sock kernel_stack pagetables percpu slab_unreclaimable");

    // Its groups around the mount cannot be seen from a container; hierarchical_memory_limit tells of them.
    private static readonly Version Version1 = new(
        "memory.limit_in_bytes", "hierarchical_memory_limit", "total_rss total_shmem");

    /// <param name="mount">Where control groups are mounted.</param>
    /// <param name="membership">The text of <c>/proc/self/cgroup</c>.</param>
    /// <param name="notUnderstood">Gets the files that hold something else than a limit.</param>
    public static IEnumerable<CgroupLimit> Read(string mount, string? membership, List<string> notUnderstood)
    {
        foreach (string line in (membership ?? string.Empty).Split('\n'))
        {
            // hierarchy:controllers:path, where the path may hold colons.
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
                    foreach (CgroupLimit limit in version.Read(group, notUnderstood))
                    {
                        yield return limit;
                    }
                }
            }
        }
    }

    /// <summary>Beside version 1, version 2 has a folder of its own.</summary>
    private static string UnifiedMount(string mount) =>
        Path.Combine(mount, "unified") is var unified && Directory.Exists(unified) ? unified : mount;

    private static IEnumerable<string> GroupAndParents(string root, string path)
    {
        // In a container the path may be that of the host, of which only the mount itself is there: what is missing holds
        // no limit. It may also lead out of what is mounted.
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

    /// <summary>The names of one version of control groups, each a list with blanks between.</summary>
    /// <param name="LimitFiles">Files that hold a limit and nothing else.</param>
    /// <param name="StatLimit">A limit within <c>memory.stat</c>.</param>
    /// <param name="UsedInStat">What in <c>memory.stat</c> the system cannot drop. Page cache is not among it.</param>
    private sealed record Version(string LimitFiles, string? StatLimit, string UsedInStat)
    {
        private const string Stat = "memory.stat";

        public IEnumerable<CgroupLimit> Read(string group, List<string> notUnderstood)
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
                    notUnderstood.Add(file);
                }
            }

            if (StatLimit is not null && SystemText.Field(stat, StatLimit) is { } inStat)
            {
                yield return new CgroupLimit($"{StatLimit} of {statFile}", inStat, used);
            }
        }
    }
}
