namespace StellaInterop.Pooling;

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
internal sealed class TextItem(TextKey key, uint[] ids, StellaTokenCount count)
{
    public TextKey Key { get; } = key;

    public uint[] Ids { get; } = ids;

    public StellaTokenCount Count { get; } = count;

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

    public List<TextItem> Items { get; } = [];

    public int Tokens { get; private set; }

    /// <summary>Items that somebody still wants. At none the forward is stopped.</summary>
    public int Wanted { get; set; }

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
