using System.Diagnostics.CodeAnalysis;

namespace StellaInterop.Serving;

/// <summary>
/// The calls of one priority with waiting texts, in turns (deficit round robin). A turn lasts for some tokens; a call that takes more has
/// less left for its next turns. So callers share the workers by tokens: a call of ten thousand texts and a call of one text both get turns,
/// and neither starves the other. Not thread-safe.
/// </summary>
/// <param name="weight">The number of tokens that this priority gets for each token of a priority of weight 1, while both wait.</param>
internal sealed class FairQueue(int weight)
{
    /// <summary>The tokens of a turn: few, so that a turn comes soon.</summary>
    private const int Quantum = 64;

    private readonly LinkedList<PoolCall> turns = [];

    /// <summary>Gets the tokens that were taken out of this queue, divided by its weight. The queue with the smaller charge is next.</summary>
    public double Charged { get; private set; }

    /// <summary>
    /// Adds a call behind the others. A queue that was empty gets no credit for that time: its charge starts at <paramref name="now"/>, the
    /// charge of the queue that was served last.
    /// </summary>
    public void Add(PoolCall call, double now)
    {
        if (turns.Count == 0)
        {
            Charged = Math.Max(Charged, now);
        }

        call.Entry.Turn = turns.AddLast(call);
        call.Entry.Credit = Quantum;
    }

    public void Remove(PoolCall call)
    {
        turns.Remove(call.Entry.Turn!);
        call.Entry.Turn = null;
    }

    /// <summary>Finds the next text of a kind, or of any kind for null, and the call whose turn it is.</summary>
    public bool TryPeek(VectorKind? kind, [NotNullWhen(true)] out PoolCall? call, [NotNullWhen(true)] out TextItem? item)
    {
        LinkedListNode<PoolCall>? node = turns.First;
        while (node is not null)
        {
            call = node.Value;
            LinkedListNode<PoolCall>? next = node.Next;
            if (!SkipStarted(call.Entry.Waiting, out item))
            {
                Remove(call);
            }
            else if (kind is null || call.Kind == kind)
            {
                if (call.Entry.Credit > 0)
                {
                    return true;
                }

                call.Entry.Credit += Quantum;
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
        call.Entry.Credit -= tokens;
        Charged += tokens / (double)weight;
    }

    /// <summary>Drops texts that were started for another call, and returns the first text that still waits.</summary>
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
