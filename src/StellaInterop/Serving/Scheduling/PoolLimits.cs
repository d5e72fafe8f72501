namespace StellaInterop.Serving;

/// <summary>
/// The limits of a batch and of the queue in tokens. They follow the loaded model: a batch has room for at least one text of the largest
/// length, which the folder sets. Thread-safe.
/// </summary>
internal sealed class PoolLimits(StellaPoolOptions options)
{
    private int batchTokens = options.EffectiveBatchTokens;

    /// <summary>Gets the largest number of tokens of a batch, at least that of the longest text.</summary>
    public int BatchTokens => Volatile.Read(ref batchTokens);

    /// <summary>Gets the largest number of queued tokens.</summary>
    public long QueuedTokens => Math.Max(options.MaxQueuedTokens ?? (64L * BatchTokens), 2L * BatchTokens);

    /// <summary>Gets the largest number of queued tokens of bulk calls: at least a batch, because a smaller share would let no text through.</summary>
    public long BulkTokens => Math.Max(BatchTokens, (long)(options.BulkShare * QueuedTokens));

    /// <summary>Sets the limits for a model that was just loaded, before a call uses it.</summary>
    public void Follow(StellaModelInfo info) => Volatile.Write(ref batchTokens, Math.Max(options.MaxBatchTokens, info.MaxTokens));
}
