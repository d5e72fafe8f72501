using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Computes equal texts once, within a block and as far back as a cache reaches.</summary>
internal sealed class DeduplicatingEmbedder(IEmbedder embedder, long cacheBytes) : IEmbedder
{
    private readonly TextCache cache = new(cacheBytes);
    private readonly Lock gate = new();
    private IReadOnlyList<int> dimensions = [];
    private long duplicateCount;

    /// <summary>Gets the number of texts that were not computed.</summary>
    public long DuplicateCount => Interlocked.Read(ref duplicateCount);

    public async Task<EmbedderInfo> OpenAsync(CancellationToken cancellationToken)
    {
        EmbedderInfo info = await embedder.OpenAsync(cancellationToken).ConfigureAwait(false);
        dimensions = info.Dimensions;
        return info;
    }

    public async Task EmbedAsync(TextBlock block, CancellationToken cancellationToken)
    {
        var firsts = new Dictionary<string, int>(StringComparer.Ordinal);
        var computed = new List<string>();
        int[] sources = new int[block.Texts.Length];
        var cached = new CachedText?[block.Texts.Length];
        lock (gate)
        {
            for (int i = 0; i < sources.Length; i++)
            {
                string text = block.Texts[i];
                if ((cached[i] = cache.Find(text)) is null && !firsts.TryGetValue(text, out sources[i]))
                {
                    firsts.Add(text, sources[i] = computed.Count);
                    computed.Add(text);
                }
            }
        }

        // The vectors are computed at the begin of the arrays and moved from there, the last one first, so that none is overwritten.
        var inner = new TextBlock([.. computed], block.Vectors);
        if (computed.Count > 0)
        {
            await embedder.EmbedAsync(inner, cancellationToken).ConfigureAwait(false);
        }

        lock (gate)
        {
            for (int i = 0; i < computed.Count; i++)
            {
                if (inner.Faults[i] is null)
                {
                    cache.Add(computed[i], new CachedText([.. dimensions.Select((_, head) => Row(block, head, i).ToArray())], inner.TokenCounts[i]));
                }
            }
        }

        for (int i = sources.Length - 1; i >= 0; i--)
        {
            if (cached[i] is { } entry)
            {
                block.TokenCounts[i] = entry.TokenCount;
                for (int head = 0; head < dimensions.Count; head++)
                {
                    entry.Vectors[head].CopyTo(Row(block, head, i));
                }
            }
            else
            {
                block.TokenCounts[i] = inner.TokenCounts[sources[i]];
                block.Faults[i] = inner.Faults[sources[i]];
                for (int head = 0; head < dimensions.Count; head++)
                {
                    Row(block, head, sources[i]).CopyTo(Row(block, head, i));
                }
            }
        }

        _ = Interlocked.Add(ref duplicateCount, sources.Length - computed.Count);
    }

    private Span<float> Row(TextBlock block, int head, int row) => block.Vectors[head].AsSpan(row * dimensions[head], dimensions[head]);
}
