namespace StellaInterop.Serving;

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
