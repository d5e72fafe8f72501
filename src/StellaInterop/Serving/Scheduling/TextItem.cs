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

/// <summary>Texts of one forward pass.</summary>
internal sealed class Batch(VectorKind kind)
{
    public VectorKind Kind { get; } = kind;

    /// <summary>The time at which the texts left the queue, by the pool's clock.</summary>
    public long StartedAt { get; init; }

    /// <summary>Whether the batch counts among the open batches of its fault.</summary>
    public bool IsOpen { get; init; }

    public List<TextItem> Items { get; } = [];

    public int Tokens { get; private set; }

    /// <summary>The number of items that a call still wants. At 0 the forward pass is stopped.</summary>
    public int Wanted { get; set; }

    /// <summary>The fault whose cause is searched with this batch; <see langword="null"/> for a batch of the queue.</summary>
    public FaultCase? Fault { get; set; }

    /// <summary>The flag that native code polls during the forward pass. It is on the pinned heap, where the collector moves nothing.</summary>
    public uint[] CancelFlag { get; } = GC.AllocateArray<uint>(1, pinned: true);

    public bool IsCancelled => Volatile.Read(ref CancelFlag[0]) != 0;

    public void Add(TextItem item)
    {
        Items.Add(item);
        Tokens += item.Ids.Length;
        item.Batch = this;
        item.State = TextState.Running;
        Wanted += item.Subscribers.Count > 0 ? 1 : 0;
    }

    public void Cancel() => Volatile.Write(ref CancelFlag[0], 1);
}

/// <summary>
/// The search for the cause of a failed batch: its halves are tried again until each faulty text is alone in a batch. Blame is assigned when
/// the search is over. Thread-safe: halves may run on several workers.
/// </summary>
internal sealed class FaultCase(Exception error)
{
    private int workersLost;
    private int isChecked;
    private volatile bool hasFaultyText;
    private volatile bool hasSuccess;
    private volatile bool hasUntried;

    /// <summary>The first error.</summary>
    public Exception Error { get; } = error;

    /// <summary>The number of batches of the search that are not done. Only the scheduler uses it, under its lock.</summary>
    public int OpenBatches { get; set; }

    /// <summary>The number of workers that broke during the search.</summary>
    public int WorkersLost => Volatile.Read(ref workersLost);

    /// <summary>Whether a text failed alone. Then the text is at fault, or the check shows that the model is.</summary>
    public bool HasFaultyText => hasFaultyText;

    /// <summary>Whether texts left the search untried, because no call wanted them any more. Any of them may be faulty.</summary>
    public bool HasUntried => hasUntried;

    public void RecordUntried() => hasUntried = true;

    public void RecordLostWorker() => Interlocked.Increment(ref workersLost);

    public void RecordSuccess() => hasSuccess = true;

    /// <summary>Records that a text failed alone.</summary>
    /// <returns>
    /// Whether the model has to be checked: no other text of the search was embedded, so nothing shows yet that the text is at fault. One
    /// check per search is enough.
    /// </returns>
    public bool RecordFaultyText()
    {
        hasFaultyText = true;
        return !hasSuccess && Interlocked.Exchange(ref isChecked, 1) == 0;
    }
}
