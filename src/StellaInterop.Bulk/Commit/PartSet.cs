using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Commit;

/// <summary>Represents the parts that are in an output folder at some moment.</summary>
/// <param name="plan">The plan.</param>
/// <param name="parts">The parts.</param>
internal sealed class PartSet(BulkPlan plan, IEnumerable<PartId> parts)
{
    private readonly SortedSet<PartId> sorted = [.. parts];

    /// <summary>Gets the parts in the order of their rows.</summary>
    public IReadOnlyCollection<PartId> Parts => sorted;

    public bool Contains(PartId part) => sorted.Contains(part);

    /// <summary>Returns whether halves of a part are there.</summary>
    public bool HasHalvesOf(PartId part)
    {
        // All halves of a part are sorted directly after it.
        int self = sorted.Contains(part) ? 1 : 0;
        return sorted.GetViewBetween(part, part with { Halves = part.Halves + "2" }).Count > self;
    }

    /// <summary>Returns whether all rows of a part are there, in it or in its halves.</summary>
    public bool Covers(PartId part) => !MissingIn(part).Any();

    /// <summary>Lists the parts to make, so that all rows are there. A chunk that was halved stays so.</summary>
    public IEnumerable<PartId> Missing() => Enumerable.Range(0, plan.Chunks.Count).SelectMany(chunk => MissingIn(new PartId(chunk)));

    /// <summary>Lists two parts with the same row; empty if there are none.</summary>
    public IEnumerable<(PartId Whole, PartId Half)> Overlaps() => sorted
        .Where(part => part.Halves.Length > 0)
        .SelectMany(part => Enumerable.Range(0, part.Halves.Length).Select(length => new PartId(part.Chunk, part.Halves[..length])), (half, whole) => (whole, half))
        .Where(pair => sorted.Contains(pair.whole));

    private IEnumerable<PartId> MissingIn(PartId part)
    {
        if (sorted.Contains(part) || part.RowsOf(plan.Chunks[part.Chunk].RowCount).Count == 0)
        {
            return [];
        }

        return HasHalvesOf(part) ? MissingIn(part.Half(second: false)).Concat(MissingIn(part.Half(second: true))) : [part];
    }
}
