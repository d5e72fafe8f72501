namespace StellaInterop.Bulk.Jobs;

/// <summary>Represents a part between reading and writing.</summary>
internal sealed class PartInWork(PartTask task)
{
    public PartTask Task { get; } = task;

    public bool IsGivenUp { get; set; }
}

/// <summary>Represents rows of a part that are embedded together.</summary>
internal sealed class Piece(PartInWork part, List<RowInHand> rows)
{
    public PartInWork Part { get; } = part;

    public List<RowInHand> Rows { get; } = rows;

    /// <summary>Gets or sets whether the part has no rows after these.</summary>
    public bool IsLast { get; set; }

    public TextBlock? Block { get; private set; }

    public Task Computed { get; private set; } = Task.CompletedTask;

    public void Start(IEmbedder embedder, IReadOnlyList<int> dimensions, BlockPool blocks, CancellationToken cancellationToken)
    {
        string[] texts = [.. Rows.Where(row => row.Row.Fault is null).Select(row => row.Row.Text!)];
        Block = new TextBlock(texts, [.. dimensions.Select(dimension => blocks.Rent(dimension))]);
        if (texts.Length > 0)
        {
            Computed = embedder.EmbedAsync(Block, cancellationToken);
        }
    }
}
