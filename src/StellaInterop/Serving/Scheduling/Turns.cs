namespace StellaInterop.Serving;

/// <summary>The result of a look for the next text of a kind.</summary>
internal enum TurnResult
{
    /// <summary>A text of the kind waits.</summary>
    Found,

    /// <summary>Only texts of other kinds wait.</summary>
    OtherKind,

    /// <summary>No text waits.</summary>
    Empty,
}

/// <summary>One that takes turns in <see cref="Turns"/>: a call, or the calls of a group.</summary>
internal abstract class TurnTaker
{
    protected TurnTaker() => Node = new LinkedListNode<TurnTaker>(this);

    public LinkedListNode<TurnTaker> Node { get; }

    /// <summary>The tokens that are left of the turn; below zero if more were taken.</summary>
    public long Credit { get; set; }

    /// <summary>Finds the next text of a kind, or of any kind for null, and its call.</summary>
    public abstract TurnResult Find(VectorKind? kind, out PoolCall? call, out TextItem? item);

    /// <summary>Records that it takes no more turns.</summary>
    public abstract void Leave();
}

/// <summary>
/// Turns of some tokens (deficit round robin). One that takes more than its turn has less left for its next turns. Not thread-safe.
/// </summary>
internal sealed class Turns
{
    /// <summary>The tokens of a turn: few, so that a turn comes soon.</summary>
    private const int Quantum = 64;

    private readonly LinkedList<TurnTaker> takers = [];

    public bool IsEmpty => takers.Count == 0;

    /// <summary>Adds one behind the others, with a whole turn.</summary>
    public void Add(TurnTaker taker)
    {
        takers.AddLast(taker.Node);
        taker.Credit = Quantum;
    }

    public void Remove(TurnTaker taker)
    {
        takers.Remove(taker.Node);
        taker.Leave();
    }

    /// <summary>Finds the next text of a kind, or of any kind for null, and the call whose turn it is. Takers without a text leave.</summary>
    public TurnResult Find(VectorKind? kind, out PoolCall? call, out TextItem? item)
    {
        for (LinkedListNode<TurnTaker>? node = takers.First, next; node is not null; node = next)
        {
            next = node.Next;
            TurnTaker taker = node.Value;
            switch (taker.Find(kind, out call, out item))
            {
                case TurnResult.Found when taker.Credit > 0:
                    return TurnResult.Found;
                case TurnResult.Found:
                    taker.Credit += Quantum;
                    takers.Remove(node);
                    takers.AddLast(node);
                    next ??= node;
                    break;
                case TurnResult.Empty:
                    Remove(taker);
                    break;
            }
        }

        (call, item) = (null, null);
        return IsEmpty ? TurnResult.Empty : TurnResult.OtherKind;
    }
}
