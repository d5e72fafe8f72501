using System.Diagnostics.CodeAnalysis;

namespace StellaInterop.Serving;

/// <summary>
/// Calls of one priority that have texts waiting, in turns. A call's turn lasts for some tokens; what it takes more is taken
/// off its next ones. So callers share by tokens, one with ten thousand texts has a turn among those with one, and neither
/// starves the other, however many come. Not thread-safe.
/// </summary>
/// <param name="weight">What calls of this priority get for each token of a priority of weight 1, while both wait.</param>
internal sealed class FairQueue(int weight)
{
    /// <summary>Tokens of a turn: few, so that turns come soon.</summary>
    private const int Quantum = 64;

    private readonly LinkedList<PoolCall> turns = [];

    /// <summary>Tokens that were taken out of this queue, over its weight. Of two queues the one with less is next.</summary>
    public double Charged { get; private set; }

    /// <summary>
    /// Adds a call behind the others. A queue that was empty does not save up time for later: it begins at
    /// <paramref name="now"/>, what the queue that was served last is charged.
    /// </summary>
    public void Add(PoolCall call, double now)
    {
        if (turns.Count == 0)
        {
            Charged = Math.Max(Charged, now);
        }

        call.Place.Turn = turns.AddLast(call);
        call.Place.Credit = Quantum;
    }

    public void Remove(PoolCall call)
    {
        turns.Remove(call.Place.Turn!);
        call.Place.Turn = null;
    }

    /// <summary>The next text of a kind, or of any, and whose turn it is.</summary>
    public bool TryPeek(VectorKind? kind, [NotNullWhen(true)] out PoolCall? call, [NotNullWhen(true)] out TextItem? item)
    {
        LinkedListNode<PoolCall>? node = turns.First;
        while (node is not null)
        {
            call = node.Value;
            LinkedListNode<PoolCall>? next = node.Next;
            if (!SkipStarted(call.Place.Waiting, out item))
            {
                Remove(call);
            }
            else if (kind is null || call.Kind == kind)
            {
                if (call.Place.Credit > 0)
                {
                    return true;
                }

                call.Place.Credit += Quantum;
                turns.Remove(node);
                turns.AddLast(node);
                next ??= node;
            }

            node = next;
        }

        (call, item) = (null, null);
        return false;
    }

    /// <summary>Charges a call, and the queue, for tokens.</summary>
    public void Charge(PoolCall call, int tokens)
    {
        call.Place.Credit -= tokens;
        Charged += tokens / (double)weight;
    }

    /// <summary>Drops texts that were started for another call, and looks at the first that was not.</summary>
    private static bool SkipStarted(Queue<TextItem> waiting, [NotNullWhen(true)] out TextItem? item)
    {
        while (waiting.TryPeek(out item))
        {
            if (item.State == TextState.Waiting)
            {
                return true;
            }

            _ = waiting.Dequeue();
        }

        return false;
    }
}
