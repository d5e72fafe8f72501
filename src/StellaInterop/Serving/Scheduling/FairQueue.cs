using System.Diagnostics.CodeAnalysis;

namespace StellaInterop.Serving;

/// <summary>
/// The calls of one priority with waiting texts. Groups take turns, and in each group its calls take turns. So callers share the workers by
/// tokens. A call of ten thousand texts gets no more than a call of one text, and a group of a thousand calls no more than a group of one.
/// Not thread-safe.
/// </summary>
/// <param name="weight">The number of tokens that this priority gets for each token of a priority of weight 1, while both wait.</param>
internal sealed class FairQueue(int weight)
{
    private readonly Turns turns = new();

    /// <summary>The groups that have a name and take turns.</summary>
    private readonly Dictionary<string, GroupTurn> groups = new(StringComparer.Ordinal);

    /// <summary>Gets the tokens that were taken out of this queue, divided by its weight. The queue with the smaller charge is next.</summary>
    public double Charged { get; private set; }

    /// <summary>
    /// Adds a call behind the others. A queue that was empty gets no credit for that time: its charge starts at <paramref name="now"/>, the
    /// charge of the queue that was served last.
    /// </summary>
    public void Add(PoolCall call, double now)
    {
        if (turns.IsEmpty)
        {
            Charged = Math.Max(Charged, now);
        }

        GroupTurn? group = GroupOf(call);
        call.Entry.Turn = new CallTurn(call, group);
        (group?.Calls ?? turns).Add(call.Entry.Turn);
    }

    public void Remove(PoolCall call)
    {
        CallTurn turn = call.Entry.Turn!;
        (turn.Group?.Calls ?? turns).Remove(turn);
        if (turn.Group is { Calls.IsEmpty: true } group)
        {
            turns.Remove(group);
        }
    }

    /// <summary>Finds the next text of a kind, or of any kind for null, and the call whose turn it is.</summary>
    public bool TryPeek(VectorKind? kind, [NotNullWhen(true)] out PoolCall? call, [NotNullWhen(true)] out TextItem? item) =>
        turns.Find(kind, out call, out item) == TurnResult.Found && call is not null && item is not null;

    /// <summary>Charges a call, its group and the queue for tokens.</summary>
    public void Charge(PoolCall call, int tokens)
    {
        CallTurn turn = call.Entry.Turn!;
        turn.Credit -= tokens;
        if (turn.Group is { } group)
        {
            group.Credit -= tokens;
        }

        Charged += tokens / (double)weight;
    }

    /// <summary>Returns the group of a call, which takes turns from now on; <see langword="null"/> for a call without a group.</summary>
    private GroupTurn? GroupOf(PoolCall call)
    {
        if (call.Options.FairnessGroup is not { } name)
        {
            return null;
        }

        if (!groups.TryGetValue(name, out GroupTurn? group))
        {
            group = new GroupTurn(name, groups);
            groups.Add(name, group);
            turns.Add(group);
        }

        return group;
    }
}

/// <summary>The turns of a call with waiting texts.</summary>
/// <param name="call">The call.</param>
/// <param name="group">Its group; <see langword="null"/> for none.</param>
internal sealed class CallTurn(PoolCall call, GroupTurn? group) : TurnTaker
{
    public GroupTurn? Group { get; } = group;

    /// <summary>Finds the first text that still waits, and drops texts before it that were started for another call.</summary>
    public override TurnResult Find(VectorKind? kind, out PoolCall? found, out TextItem? item)
    {
        found = call;
        Queue<TextItem> waiting = call.Entry.Waiting;
        while (waiting.TryPeek(out item))
        {
            if (item.State == TextState.Waiting)
            {
                return kind is null || call.Kind == kind ? TurnResult.Found : TurnResult.OtherKind;
            }

            _ = waiting.Dequeue();
        }

        return TurnResult.Empty;
    }

    public override void Leave() => call.Entry.Turn = null;
}

/// <summary>The turns of all calls of a group.</summary>
/// <param name="name">The name of the group.</param>
/// <param name="groups">The groups that take turns, by name.</param>
internal sealed class GroupTurn(string name, Dictionary<string, GroupTurn> groups) : TurnTaker
{
    public Turns Calls { get; } = new();

    public override TurnResult Find(VectorKind? kind, out PoolCall? call, out TextItem? item) => Calls.Find(kind, out call, out item);

    public override void Leave() => groups.Remove(name);
}
