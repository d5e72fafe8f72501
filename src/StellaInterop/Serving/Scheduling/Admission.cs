using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The accepted and the waiting calls, and the tokens that accepted calls reserve, at one moment.</summary>
internal readonly record struct AdmissionState(int Calls, int WaitingCalls, long ReservedTokens);

/// <summary>
/// Decides which calls a pool accepts. Before anything is tokenized, a call reserves tokens of
/// <see cref="StellaPoolOptions.MaxQueuedTokens"/> by an estimate, at most two batches. If they are not free, the call is refused or waits,
/// as its options say. Thread-safe.
/// </summary>
/// <remarks>
/// Each priority has its own waiting line. Bulk calls hold at most their share of both bounds, calls and tokens, and the first bulk call
/// that waits has the first claim on room within that share. So neither priority can shut the other out.
/// </remarks>
internal sealed class Admission
{
    private readonly RankedLock gate = new(LockRank.Admission);
    private readonly StellaPoolOptions options;
    private readonly PoolLimits limits;
    private readonly AdmissionLane interactive;
    private readonly AdmissionLane bulk;
    private int calls;
    private long reserved;
    private double tokensPerSecond;

    public Admission(StellaPoolOptions options, PoolLimits limits)
    {
        this.options = options;
        this.limits = limits;
        interactive = new AdmissionLane(options.MaxQueuedCalls, () => limits.QueuedTokens);
        // A share below one call would let nothing through.
        bulk = new AdmissionLane(Math.Max(1, (int)(options.BulkShare * options.MaxQueuedCalls)), () => limits.BulkTokens);
    }

    public AdmissionState State
    {
        get
        {
            using (gate.Enter())
            {
                return new AdmissionState(calls, interactive.Waiting.Count + bulk.Waiting.Count, reserved);
            }
        }
    }

    /// <summary>Accepts a call, lets it wait for its turn, or refuses it.</summary>
    /// <param name="call">The options of the call.</param>
    /// <param name="estimate">The estimated number of tokens of its texts.</param>
    /// <returns>
    /// The call's place; dispose it when the call ends. <see cref="AdmissionSlot.AdmittedAsync"/> waits until the call is accepted.
    /// </returns>
    /// <exception cref="StellaOverloadedException">There is no room, and the call does not wait.</exception>
    public AdmissionSlot Enter(StellaCallOptions call, long estimate)
    {
        using (gate.Enter())
        {
            AdmissionLane lane = call.Priority == StellaPriority.Bulk ? bulk : interactive;
            var slot = new AdmissionSlot(this, lane, estimate);
            if (lane.Waiting.Count == 0 && HasRoomFor(slot))
            {
                Admit(slot);
                return slot;
            }

            if (call.QueueFullMode == StellaQueueFullMode.Reject || (lane.Waiting.Count >= lane.CallLimit && !call.IsPartOfStream))
            {
                throw Overloaded(lane);
            }

            slot.Node = lane.Waiting.AddLast(slot);
            return slot;
        }
    }

    /// <summary>Records that a batch was computed. The speed tells refused calls when to try again.</summary>
    public void RecordSpeed(int tokens, TimeSpan elapsed)
    {
        double speed = tokens / Math.Max(elapsed.TotalSeconds, 1e-6);
        using (gate.Enter())
        {
            tokensPerSecond = tokensPerSecond == 0 ? speed : (0.8 * tokensPerSecond) + (0.2 * speed);
        }
    }

    /// <summary>Returns a part of a reservation, so that no more than <paramref name="tokens"/> stay reserved.</summary>
    public void Shrink(AdmissionSlot slot, long tokens)
    {
        using (gate.Enter())
        {
            if (slot.IsAdmitted && tokens < slot.Reserved)
            {
                Reserve(slot, tokens - slot.Reserved);
                AdmitWaiting();
            }
        }
    }

    /// <summary>Ends the place of a call, whether the call was accepted or waits.</summary>
    public void Release(AdmissionSlot slot)
    {
        using (gate.Enter())
        {
            if (slot.IsAdmitted)
            {
                Reserve(slot, -slot.Reserved);
                slot.IsAdmitted = false;
                slot.Lane.Calls--;
                calls--;
            }
            else if (slot.Node is { } node)
            {
                slot.Lane.Waiting.Remove(node);
                slot.Node = null;
                slot.Admitted.Set();
            }

            AdmitWaiting();
        }
    }

    /// <summary>Whether both bounds have room for a call, without the room that the other priority has a claim on.</summary>
    private bool HasRoomFor(AdmissionSlot slot)
    {
        long tokens = ReservationOf(slot);
        (int claimedCalls, long claimedTokens) = slot.Lane == bulk ? (0, 0) : BulkClaim();
        return slot.Lane.HasRoomFor(tokens)
            && calls + claimedCalls < options.MaxQueuedCalls
            && reserved + tokens + claimedTokens <= limits.QueuedTokens;
    }

    /// <summary>Returns the room that the first waiting bulk call may still take of its share.</summary>
    private (int Calls, long Tokens) BulkClaim() =>
        bulk.Waiting.First is { } first && ReservationOf(first.Value) is var tokens && bulk.HasRoomFor(tokens) ? (1, tokens) : (0, 0);

    /// <summary>
    /// Returns the tokens that a call reserves. They are computed at admission: a model that was loaded while the call waited may have
    /// lowered the limits, and a reservation above them would never fit.
    /// </summary>
    private long ReservationOf(AdmissionSlot slot) => Math.Min(slot.Estimate, Math.Min(2L * limits.BatchTokens, slot.Lane.TokenLimit));

    private void Admit(AdmissionSlot slot)
    {
        calls++;
        slot.Lane.Calls++;
        slot.IsAdmitted = true;
        Reserve(slot, ReservationOf(slot));
        slot.Admitted.Set();
    }

    /// <summary>Accepts the waiting calls that there is room for. Bulk comes first: interactive calls keep out of its claim anyway.</summary>
    private void AdmitWaiting()
    {
        foreach (AdmissionLane lane in (ReadOnlySpan<AdmissionLane>)[bulk, interactive])
        {
            while (lane.Waiting.First is { } first && HasRoomFor(first.Value))
            {
                lane.Waiting.RemoveFirst();
                first.Value.Node = null;
                Admit(first.Value);
            }
        }
    }

    private void Reserve(AdmissionSlot slot, long tokens)
    {
        slot.Reserved += tokens;
        slot.Lane.Reserved += tokens;
        reserved += tokens;
    }

    private StellaOverloadedException Overloaded(AdmissionLane lane) => lane == bulk
        ? new StellaOverloadedException("bulk", bulk.Calls + bulk.Waiting.Count, bulk.CallLimit, bulk.Reserved, bulk.TokenLimit, RetryAfter())
        : new StellaOverloadedException(
            "interactive", calls + interactive.Waiting.Count, options.MaxQueuedCalls, reserved, limits.QueuedTokens, RetryAfter());

    private TimeSpan RetryAfter()
    {
        double seconds = tokensPerSecond == 0 ? 1 : reserved / tokensPerSecond;
        return TimeSpan.FromSeconds(Math.Clamp(seconds, 0.05, 60));
    }
}

/// <summary>The calls of one priority: those that wait to be accepted, and how much of the bounds the accepted ones hold.</summary>
/// <param name="callLimit">The largest number of accepted calls.</param>
/// <param name="tokenLimit">Returns the largest number of reserved tokens, which follows the loaded model.</param>
internal sealed class AdmissionLane(int callLimit, Func<long> tokenLimit)
{
    /// <summary>The calls that wait, in the order of arrival.</summary>
    public LinkedList<AdmissionSlot> Waiting { get; } = [];

    public int CallLimit { get; } = callLimit;

    public long TokenLimit => tokenLimit();

    /// <summary>The number of accepted calls.</summary>
    public int Calls { get; set; }

    /// <summary>The tokens that accepted calls reserve.</summary>
    public long Reserved { get; set; }

    public bool HasRoomFor(long tokens) => Calls < CallLimit && Reserved + tokens <= TokenLimit;
}

/// <summary>
/// The place of one call: waiting at first or accepted at once, until it is disposed. Changed under the lock of <see cref="Admission"/>.
/// </summary>
internal sealed class AdmissionSlot(Admission admission, AdmissionLane lane, long estimate) : IDisposable
{
    public AdmissionLane Lane { get; } = lane;

    public long Estimate { get; } = estimate;

    /// <summary>Set when the call is accepted, and when the place of a waiting call ends.</summary>
    public Signal Admitted { get; } = new();

    /// <summary>The position in the waiting line; <see langword="null"/> for a call that does not wait.</summary>
    public LinkedListNode<AdmissionSlot>? Node { get; set; }

    public bool IsAdmitted { get; set; }

    /// <summary>The tokens that the call reserves.</summary>
    public long Reserved { get; set; }

    /// <summary>Waits until the call is accepted or its place ends.</summary>
    public Task AdmittedAsync() => Admitted.WaitAsync();

    /// <summary>Keeps no more tokens reserved than the call still needs.</summary>
    public void ShrinkTo(long tokens) => admission.Shrink(this, tokens);

    public void Dispose() => admission.Release(this);
}
