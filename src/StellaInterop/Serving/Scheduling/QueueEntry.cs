using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>Whether texts of the same call follow a part.</summary>
internal enum PartOrder
{
    MoreFollow,
    Last,
}

/// <summary>A text of a call that is ready for the queue.</summary>
/// <param name="Index">The index of the text in the call.</param>
/// <param name="Key">The key under which calls share the text.</param>
/// <param name="Tokens">The tokens of the text.</param>
internal readonly record struct QueuedText(int Index, TextKey Key, TokenizedText Tokens);

/// <summary>Texts of a call that enter the queue together, as soon as the queue has room for them.</summary>
internal sealed record QueuedPart(ReadOnlyMemory<QueuedText> Texts, long Tokens, PartOrder Order);

/// <summary>The state of a call in the queue. Only the scheduler uses it, under its lock.</summary>
internal sealed class QueueEntry
{
    /// <summary>The tokens that the call reserved; <see langword="null"/> before the call has entered the queue and after it has left.</summary>
    public AdmissionSlot? Slot { get; set; }

    /// <summary>The texts that wait, in order. Some of them may have been started for another call.</summary>
    public Queue<TextItem> Waiting { get; } = new();

    /// <summary>The texts that are in batches.</summary>
    public HashSet<TextItem> Running { get; } = [];

    /// <summary>The number of tokens of the texts that wait.</summary>
    public long QueuedTokens { get; set; }

    /// <summary>Whether more texts of the call will come.</summary>
    public bool IsFeeding { get; set; }

    /// <summary>The turns that the call takes; <see langword="null"/> while no text of the call waits.</summary>
    public CallTurn? Turn { get; set; }

    /// <summary>The texts that wait for room in the queue.</summary>
    public QueuedPart? Part { get; set; }

    /// <summary>Set when these texts are in the queue.</summary>
    public Signal? PartQueued { get; set; }

    /// <summary>The time at which the first text of the call was started, by the pool's clock.</summary>
    public long? StartedAt { get; set; }
}
