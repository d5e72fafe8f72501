namespace StellaInterop.Serving;

/// <summary>The texts of one priority in the queue.</summary>
/// <param name="weight">The share of tokens that this priority gets while both wait.</param>
/// <param name="tokenLimit">Returns the largest number of tokens that may wait, which follows the loaded model.</param>
internal sealed class TextLane(int weight, Func<long> tokenLimit)
{
    public FairQueue Queue { get; } = new(weight);

    /// <summary>The calls whose next part waits for room in the queue, in the order of arrival.</summary>
    public LinkedList<PoolCall> Parts { get; } = [];

    public long TokenLimit => tokenLimit();

    /// <summary>The number of tokens that wait.</summary>
    public long Queued { get; set; }
}
