using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The accepted and the waiting calls, and the tokens that accepted calls reserve, at one moment.</summary>
internal readonly record struct AdmissionState(int Calls, int WaitingCalls, long ReservedTokens);

/// <summary>Whether the queue has room for a call.</summary>
internal enum Room
{
    Free,

    /// <summary>The call's group holds as much as is free, so the rest is kept for other groups.</summary>
    KeptForOtherGroups,

    Taken,
}

/// <summary>
/// Decides which calls a pool accepts. Before anything is tokenized, a call reserves tokens of
/// <see cref="StellaPoolOptions.MaxQueuedTokens"/> by an estimate, at most two batches. If they are not free, the call is refused or waits,
/// as its options say. Thread-safe.
/// </summary>
/// <remarks>
/// Each priority has its own waiting line. Bulk calls hold at most their share of both bounds, calls and tokens, and the first bulk call
/// that waits has the first claim on room within that share. So neither priority can shut the other out. A group may hold only as much as it
/// leaves free: that is half of the room if it is alone, and a third if there are two. So a group that asks for more than others never takes
/// the last room.
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
                return new AdmissionState(calls, interactive.WaitingCalls + bulk.WaitingCalls, reserved);
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
            var slot = new AdmissionSlot(this, lane, lane.GroupOf(call.FairnessGroup), estimate);
            if (NextWaiting(lane) is null && RoomFor(slot) == Room.Free)
            {
                Admit(slot);
                return slot;
            }

            int freePlaces = lane.CallLimit - lane.WaitingCalls;
            if (call.QueueFullMode == StellaQueueFullMode.Reject || (slot.Group.Waiting.Count >= freePlaces && !call.IsPartOfStream))
            {
                lane.ForgetIfUnused(slot.Group);
                throw Overloaded(slot);
            }

            lane.AddWaiting(slot);
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
                slot.Group.Calls--;
                calls--;
            }
            else if (slot.IsWaiting)
            {
                slot.Lane.RemoveWaiting(slot);
                slot.Admitted.Set();
            }

            slot.Lane.ForgetIfUnused(slot.Group);
            AdmitWaiting();
        }
    }

    /// <summary>Finds whether both bounds have room for a call, without the room that the other priority has a claim on.</summary>
    private Room RoomFor(AdmissionSlot slot)
    {
        AdmissionLane lane = slot.Lane;
        long tokens = ReservationOf(slot);
        (int claimedCalls, long claimedTokens) = lane == bulk ? (0, 0) : BulkClaim();
        int freeCalls = Math.Min(lane.CallLimit - lane.Calls, options.MaxQueuedCalls - calls - claimedCalls);
        long freeTokens = Math.Min(lane.TokenLimit - lane.Reserved, limits.QueuedTokens - reserved - claimedTokens);
        return freeCalls <= 0 || tokens > freeTokens ? Room.Taken
            : slot.Group.Calls >= freeCalls || tokens > freeTokens - slot.Group.Reserved ? Room.KeptForOtherGroups
            : Room.Free;
    }

    /// <summary>Returns the first waiting call whose group may hold more. Groups are in the order in which they were served.</summary>
    private AdmissionSlot? NextWaiting(AdmissionLane lane)
    {
        foreach (AdmissionGroup group in lane.WaitingGroups)
        {
            AdmissionSlot first = group.Waiting.First!.Value;
            if (RoomFor(first) != Room.KeptForOtherGroups)
            {
                return first;
            }
        }

        return null;
    }

    /// <summary>Returns the room that the first waiting bulk call may still take of its share.</summary>
    private (int Calls, long Tokens) BulkClaim() =>
        NextWaiting(bulk) is { } first && ReservationOf(first) is var tokens && bulk.HasRoomFor(tokens) ? (1, tokens) : (0, 0);

    /// <summary>
    /// Returns the tokens that a call reserves. They are computed at admission: a model that was loaded while the call waited may have
    /// lowered the limits, and a reservation above them would never fit.
    /// </summary>
    private long ReservationOf(AdmissionSlot slot) => Math.Min(slot.Estimate, Math.Min(2L * limits.BatchTokens, slot.Lane.TokenLimit));

    private void Admit(AdmissionSlot slot)
    {
        calls++;
        slot.Lane.Calls++;
        slot.Group.Calls++;
        slot.IsAdmitted = true;
        Reserve(slot, ReservationOf(slot));
        slot.Admitted.Set();
    }

    /// <summary>Accepts the waiting calls that there is room for. Bulk comes first: interactive calls keep out of its claim anyway.</summary>
    private void AdmitWaiting()
    {
        foreach (AdmissionLane lane in (ReadOnlySpan<AdmissionLane>)[bulk, interactive])
        {
            while (NextWaiting(lane) is { } next && RoomFor(next) == Room.Free)
            {
                lane.RemoveWaiting(next);
                lane.MoveBack(next.Group);
                Admit(next);
            }
        }
    }

    private void Reserve(AdmissionSlot slot, long tokens)
    {
        slot.Reserved += tokens;
        slot.Lane.Reserved += tokens;
        slot.Group.Reserved += tokens;
        reserved += tokens;
    }

    private StellaOverloadedException Overloaded(AdmissionSlot slot)
    {
        AdmissionGroup group = slot.Group;
        string ofGroup = group.Name is { } name
            ? $" of the group '{Printable.Line(name)}', which holds {group.Calls} calls and {group.Reserved} tokens and may hold no more than is free"
            : "";
        return slot.Lane == bulk
            ? new StellaOverloadedException($"bulk calls{ofGroup}", bulk.Calls + bulk.WaitingCalls, bulk.CallLimit, bulk.Reserved, bulk.TokenLimit, RetryAfter())
            : new StellaOverloadedException(
                $"interactive calls{ofGroup}", calls + interactive.WaitingCalls, options.MaxQueuedCalls, reserved, limits.QueuedTokens, RetryAfter());
    }

    private TimeSpan RetryAfter()
    {
        double seconds = tokensPerSecond == 0 ? 1 : reserved / tokensPerSecond;
        return TimeSpan.FromSeconds(Math.Clamp(seconds, 0.05, 60));
    }
}
