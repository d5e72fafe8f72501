using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The calls of one priority: those that wait to be accepted, and how much of the bounds the accepted ones hold.</summary>
/// <param name="callLimit">The largest number of accepted calls.</param>
/// <param name="tokenLimit">Returns the largest number of reserved tokens, which follows the loaded model.</param>
internal sealed class AdmissionLane(int callLimit, Func<long> tokenLimit)
{
    /// <summary>The groups that have a name and hold or wait for room.</summary>
    private readonly Dictionary<string, AdmissionGroup> groups = new(StringComparer.Ordinal);

    /// <summary>The groups with waiting calls. A group whose call was accepted goes to the end.</summary>
    public LinkedList<AdmissionGroup> WaitingGroups { get; } = [];

    public int CallLimit { get; } = callLimit;

    public long TokenLimit => tokenLimit();

    /// <summary>The number of accepted calls.</summary>
    public int Calls { get; set; }

    /// <summary>The number of calls that wait.</summary>
    public int WaitingCalls { get; private set; }

    /// <summary>The tokens that accepted calls reserve.</summary>
    public long Reserved { get; set; }

    public bool HasRoomFor(long tokens) => Calls < CallLimit && Reserved + tokens <= TokenLimit;

    /// <summary>Returns the group with a name, or a new one for a call without.</summary>
    public AdmissionGroup GroupOf(string? name)
    {
        if (name is null)
        {
            return new AdmissionGroup(null);
        }

        if (!groups.TryGetValue(name, out AdmissionGroup? group))
        {
            group = new AdmissionGroup(name);
            groups.Add(name, group);
        }

        return group;
    }

    /// <summary>Drops the name of a group that neither holds nor waits for room.</summary>
    public void ForgetIfUnused(AdmissionGroup group)
    {
        if (group is { Name: { } name, Calls: 0, Waiting.Count: 0 })
        {
            _ = groups.Remove(name);
        }
    }

    public void AddWaiting(AdmissionSlot slot)
    {
        AdmissionGroup group = slot.Group;
        if (group.Waiting.Count == 0)
        {
            WaitingGroups.AddLast(group.Node);
        }

        slot.Node = group.Waiting.AddLast(slot);
        WaitingCalls++;
    }

    public void RemoveWaiting(AdmissionSlot slot)
    {
        AdmissionGroup group = slot.Group;
        group.Waiting.Remove(slot.Node!);
        slot.Node = null;
        WaitingCalls--;
        if (group.Waiting.Count == 0)
        {
            WaitingGroups.Remove(group.Node);
        }
    }

    /// <summary>Moves a group behind the other groups that wait.</summary>
    public void MoveBack(AdmissionGroup group)
    {
        if (group.Waiting.Count > 0)
        {
            WaitingGroups.Remove(group.Node);
            WaitingGroups.AddLast(group.Node);
        }
    }
}

/// <summary>The calls of one group and priority: those that wait to be accepted, and how much of the bounds the accepted ones hold.</summary>
internal sealed class AdmissionGroup
{
    /// <param name="name">The name of the group; <see langword="null"/> for a call that is a group of its own.</param>
    public AdmissionGroup(string? name)
    {
        Name = name;
        Node = new LinkedListNode<AdmissionGroup>(this);
    }

    public string? Name { get; }

    /// <summary>The position among the groups that wait.</summary>
    public LinkedListNode<AdmissionGroup> Node { get; }

    /// <summary>The calls that wait, in the order of arrival.</summary>
    public LinkedList<AdmissionSlot> Waiting { get; } = [];

    /// <summary>The number of accepted calls.</summary>
    public int Calls { get; set; }

    /// <summary>The tokens that accepted calls reserve.</summary>
    public long Reserved { get; set; }
}

/// <summary>
/// The place of one call: waiting at first or accepted at once, until it is disposed. Changed under the lock of <see cref="Admission"/>.
/// </summary>
internal sealed class AdmissionSlot(Admission admission, AdmissionLane lane, AdmissionGroup group, long estimate) : IDisposable
{
    public AdmissionLane Lane { get; } = lane;

    public AdmissionGroup Group { get; } = group;

    public long Estimate { get; } = estimate;

    /// <summary>Set when the call is accepted, and when the place of a waiting call ends.</summary>
    public Signal Admitted { get; } = new();

    /// <summary>The position among the waiting calls of the group; <see langword="null"/> for a call that does not wait.</summary>
    public LinkedListNode<AdmissionSlot>? Node { get; set; }

    public bool IsWaiting => Node is not null;

    public bool IsAdmitted { get; set; }

    /// <summary>The tokens that the call reserves.</summary>
    public long Reserved { get; set; }

    /// <summary>Waits until the call is accepted or its place ends.</summary>
    public Task AdmittedAsync() => Admitted.WaitAsync();

    /// <summary>Keeps no more tokens reserved than the call still needs.</summary>
    public void ShrinkTo(long tokens) => admission.Shrink(this, tokens);

    public void Dispose() => admission.Release(this);
}
