using StellaInterop.Bulk.Planning;

namespace StellaInterop.Cluster.Leases;

/// <summary>Represents a part that is not committed.</summary>
internal sealed class PartState(PartId part, long rows, long tokens)
{
    public PartId Part => part;

    public long Rows => rows;

    /// <summary>Gets its estimated tokens.</summary>
    public long Tokens => tokens;

    /// <summary>Gets or sets the epoch of its last lease.</summary>
    public int Epoch { get; set; }

    /// <summary>Gets or sets the leases that ended without a result.</summary>
    public int Attempts { get; set; }

    /// <summary>Gets the machines of these leases.</summary>
    public HashSet<string> Machines { get; } = new(StringComparer.Ordinal);

    /// <summary>Gets or sets its lease; <see langword="null"/> if nobody has it.</summary>
    public Lease? Lease { get; set; }

    /// <summary>Gets whether the part may end its node, so that it needs a node for itself.</summary>
    public bool IsSuspect => Attempts > 0 || part.Halves.Length > 0;
}

/// <summary>Represents a lease that has not ended.</summary>
internal sealed class Lease(string node, string machine, int epoch)
{
    public string Node => node;

    public string Machine => machine;

    public int Epoch => epoch;

    /// <summary>Gets or sets whether its rows are rejected, and not computed.</summary>
    public bool IsRejection { get; init; }

    /// <summary>Gets or sets when it was given, as a timestamp of the clock.</summary>
    public long Given { get; init; }

    /// <summary>Gets or sets when it was last renewed, as a timestamp of the clock.</summary>
    public long Renewed { get; set; }

    /// <summary>Gets or sets how it is to end. It ends as soon as the output folder can be written.</summary>
    public LeaseEnd Ending { get; set; }
}
