using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The calls of one priority, and how much of the bounds they hold.</summary>
internal sealed class Lane(int weight, int callLimit, Func<long> tokenLimit)
{
    public FairQueue Queue { get; } = new(weight);

    /// <summary>Calls that wait to be accepted, in the order of arrival.</summary>
    public LinkedList<Waiter> Waiters { get; } = [];

    /// <summary>Accepted calls whose next part waits for room, in the order of arrival.</summary>
    public LinkedList<PoolCall> Parts { get; } = [];

    public int CallLimit { get; } = callLimit;

    public long TokenLimit => tokenLimit();

    /// <summary>Accepted calls.</summary>
    public int Calls { get; set; }

    /// <summary>Tokens that accepted calls reserved.</summary>
    public long Taken { get; set; }

    /// <summary>Tokens that wait.</summary>
    public long Queued { get; set; }

    public bool HasRoomFor(long charge) => Calls < CallLimit && Taken + charge <= TokenLimit;
}

/// <summary>A call that waits to be accepted, with the estimated number of its tokens.</summary>
internal readonly record struct Waiter(PoolCall Call, long Estimate, Signal Admitted);
