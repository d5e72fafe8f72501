namespace StellaInterop.DocsTests.Modules;

/// <summary>Which module of a code base uses which other, with one place in the sources for each use.</summary>
internal sealed class ModuleGraph
{
    private readonly SortedDictionary<string, SortedDictionary<string, string>> uses = new(StringComparer.Ordinal);

    /// <summary>Gets the number of uses between two modules.</summary>
    public int Count => uses.Values.Sum(targets => targets.Count);

    /// <summary>Records that a module uses another. A module that uses itself is not recorded.</summary>
    /// <param name="place">The file and line of the use. The first place of a use is kept.</param>
    public void Add(string from, string to, string place)
    {
        if (from == to)
        {
            return;
        }

        if (!uses.TryGetValue(from, out SortedDictionary<string, string>? targets))
        {
            uses.Add(from, targets = new(StringComparer.Ordinal));
        }

        targets.TryAdd(to, place);
    }

    /// <summary>Finds a shortest cycle through each module that has one.</summary>
    /// <returns>A line for each cycle: its modules, and a place for each use. Empty if the modules have no cycle.</returns>
    public IReadOnlyList<string> Cycles()
    {
        var found = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (string start in uses.Keys)
        {
            if (ShortestPath(start) is { } path)
            {
                found.TryAdd(string.Join('|', path.Order(StringComparer.Ordinal)), Describe(path));
            }
        }

        return [.. found.Values];
    }

    /// <summary>Searches breadth-first for a way from a module back to itself.</summary>
    private List<string>? ShortestPath(string start)
    {
        var cameFrom = new Dictionary<string, string>(StringComparer.Ordinal);
        var queue = new Queue<string>([start]);
        while (queue.TryDequeue(out string? module))
        {
            foreach (string next in uses.GetValueOrDefault(module)?.Keys ?? Enumerable.Empty<string>())
            {
                if (next == start)
                {
                    var path = new List<string> { module };
                    while (path[^1] != start)
                    {
                        path.Add(cameFrom[path[^1]]);
                    }

                    path.Reverse();
                    return path;
                }

                if (cameFrom.TryAdd(next, module))
                {
                    queue.Enqueue(next);
                }
            }
        }

        return null;
    }

    private string Describe(List<string> path) =>
        string.Join("; ", path.Select((module, i) =>
        {
            string next = path[(i + 1) % path.Count];
            return $"{module} uses {next} ({uses[module][next]})";
        }));
}
