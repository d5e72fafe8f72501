namespace StellaInterop.Serving;

internal enum TextState
{
    /// <summary>In the queue.</summary>
    Waiting,

    /// <summary>In a batch that a worker has, or that is to be tried again.</summary>
    Running,

    /// <summary>Computed, failed, or wanted by nobody.</summary>
    Done,
}

/// <summary>
/// One text on its way through the pool, for all who want it: the same text in several calls is one item. Belongs to the
/// scheduler, which changes it under its lock, until it is done.
/// </summary>
internal sealed class TextItem(TextKey key, TokenizedText text)
{
    public TextKey Key { get; } = key;

    public uint[] Ids { get; } = text.Ids;

    /// <summary>Tokens at the beginning that take no part in the vector.</summary>
    public uint LeftOut { get; } = text.LeftOut;

    public StellaTokenCount Count { get; } = text.Count;

    public TextState State { get; set; }

    /// <summary>The batch that it runs in.</summary>
    public Batch? Batch { get; set; }

    /// <summary>Who gets the vector, and at which index. Nobody any more when all of them have gone.</summary>
    public List<(PoolCall Call, int Index)> Subscribers { get; } = new(1);
}

/// <summary>Texts that go to a worker together.</summary>
internal sealed class Batch(VectorKind kind)
{
    public VectorKind Kind { get; } = kind;

    /// <summary>When its texts were taken out of the queue, by the pool's clock.</summary>
    public long StartedAt { get; init; }

    /// <summary>Whether it counts among the open batches of its fault.</summary>
    public bool IsOpen { get; init; }

    public List<TextItem> Items { get; } = [];

    public int Tokens { get; private set; }

    /// <summary>Items that somebody still wants. At none the forward is stopped.</summary>
    public int Wanted { get; set; }

    /// <summary>The fault whose cause is being looked for with this batch; <see langword="null"/> for a batch of the queue.</summary>
    public FaultCase? Fault { get; set; }

    /// <summary>What native code polls. It cannot be moved meanwhile, so it lies where nothing is.</summary>
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
/// The search for the cause of a batch that failed: its halves are tried again until faulty texts stand alone. Blame is
/// assigned when the search is over. Thread-safe: halves may run on several workers.
/// </summary>
internal sealed class FaultCase(Exception error)
{
    private int workersLost;
    private int isChecked;
    private volatile bool hasFaultyText;
    private volatile bool hasSuccess;
    private volatile bool isCut;

    /// <summary>The first error.</summary>
    public Exception Error { get; } = error;

    /// <summary>Batches of the search that are not done. Only the scheduler touches this, under its lock.</summary>
    public int OpenBatches { get; set; }

    /// <summary>Workers that broke during the search.</summary>
    public int WorkersLost => Volatile.Read(ref workersLost);

    /// <summary>Whether a text failed alone. Then the fault is that text's, or it is the model's and the check shows it.</summary>
    public bool HasFaultyText => hasFaultyText;

    /// <summary>Whether texts were given up before they were tried, because nobody wanted them any more. Any of them may be faulty.</summary>
    public bool IsCut => isCut;

    public void NoteCut() => isCut = true;

    public void NoteLostWorker() => Interlocked.Increment(ref workersLost);

    public void NoteSuccess() => hasSuccess = true;

    /// <summary>Notes that a text failed alone.</summary>
    /// <returns>
    /// Whether the model has to be checked: no other text of the search went well, so nothing tells yet that the text is to
    /// blame. One check a search is enough.
    /// </returns>
    public bool NoteFaultyText()
    {
        hasFaultyText = true;
        return !hasSuccess && Interlocked.Exchange(ref isChecked, 1) == 0;
    }
}
