namespace StellaInterop.Serving;

internal enum TextState
{
    /// <summary>The text is in the queue.</summary>
    Waiting,

    /// <summary>The text is in a batch of a worker, or in a batch that will be tried again.</summary>
    Running,

    /// <summary>The text was computed, has failed, or is not wanted by any call.</summary>
    Done,
}

/// <summary>
/// One text on its way through the pool. The same text in several calls is one item. Until it is done, only the scheduler changes it, under
/// its lock.
/// </summary>
internal sealed class TextItem(TextKey key, TokenizedText text)
{
    public TextKey Key { get; } = key;

    public ReadOnlyMemory<uint> Ids { get; } = text.Ids;

    /// <summary>The number of tokens at the beginning that the pooling leaves out.</summary>
    public uint LeftOut { get; } = text.LeftOut;

    public StellaTokenCount Count { get; } = text.Count;

    public TextState State { get; set; }

    /// <summary>The batch of the text, once it runs.</summary>
    public Batch? Batch { get; set; }

    /// <summary>The calls that get the vector, and the index of the text in each. Empty when all of them have ended.</summary>
    public List<(PoolCall Call, int Index)> Subscribers { get; } = new(1);
}
