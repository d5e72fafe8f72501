namespace StellaInterop.Serving;

/// <summary>
/// How many tokens a batch and the queue hold. They follow the loaded model, since a batch holds at least one text as long as it may
/// be, and the folder says how long that is. Thread-safe.
/// </summary>
internal sealed class PoolLimits(StellaPoolOptions options)
{
    private int batchTokens = options.EffectiveBatchTokens;

    /// <summary>Tokens of a batch, a text as long as it may be included.</summary>
    public int BatchTokens => Volatile.Read(ref batchTokens);

    /// <summary>Tokens that may wait.</summary>
    public long QueuedTokens => Math.Max(options.MaxQueuedTokens ?? (64L * BatchTokens), 2L * BatchTokens);

    /// <summary>Tokens of bulk calls that may wait. A share below one batch would let nothing through.</summary>
    public long BulkTokens => Math.Max(BatchTokens, (long)(options.BulkShare * QueuedTokens));

    /// <summary>Fits the limits to a model that was loaded and that nobody uses yet.</summary>
    public void Follow(StellaModelInfo info) => Volatile.Write(ref batchTokens, Math.Max(options.MaxBatchTokens, info.MaxTokens));
}
