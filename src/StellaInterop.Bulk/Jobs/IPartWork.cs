using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Gives parts to a pipeline, and hears of their ends. Several threads call its methods.</summary>
internal interface IPartWork
{
    /// <summary>Takes the next part, when there is one.</summary>
    /// <returns><see langword="null"/> when no part is left.</returns>
    ValueTask<PartTask?> TakeAsync(CancellationToken stop);

    /// <summary>Returns whether a part is still wanted. It is asked before each of its pieces is computed.</summary>
    bool IsWanted(PartTask task);

    /// <summary>Hears of a part that is not computed to its end because it was not wanted any more.</summary>
    ValueTask GivenUpAsync(PartTask task);

    /// <summary>Hears of rows that have vectors.</summary>
    void Embedded(int rows, long tokens);

    /// <summary>Hears of a part that could not be computed. The pipeline ends.</summary>
    void Failed(PartTask task, Exception error);

    /// <summary>Hears of the end of a part.</summary>
    /// <param name="task">The part.</param>
    /// <param name="counts">Its counts.</param>
    /// <param name="isCommitted"><see langword="false"/> if another process made the part, or the claim was taken.</param>
    /// <param name="lastFault">The last row at fault, for a message; <see langword="null"/> without one.</param>
    ValueTask DoneAsync(PartTask task, PartCounts counts, bool isCommitted, string? lastFault);
}

/// <summary>Represents a part to make.</summary>
/// <param name="Part">Its rows.</param>
/// <param name="Claim">The file that decides whether it may be committed, as for <see cref="JobOutput.Commit"/>.</param>
/// <param name="IsRejected">Whether its rows get no vectors and go to the rows at fault.</param>
internal sealed record PartTask(PartId Part, string? Claim = null, bool IsRejected = false)
{
    /// <summary>Gets the number of the lease among those of the part; 0 without a lease.</summary>
    public int Epoch { get; init; }
}
