namespace StellaInterop.Bulk.Jobs;

/// <summary>Keeps the vectors of texts, those that were used lately, in bounded memory.</summary>
/// <remarks>
/// There are two generations. A text that is found in the old one moves to the new one. When the new one is full, the old one is dropped and
/// the new one becomes old. Not thread-safe.
/// </remarks>
internal sealed class TextCache(long maxBytes)
{
    /// <summary>An upper bound of the memory of an entry besides its characters and numbers: two objects, two arrays, a slot of the table.</summary>
    private const int EntryBytes = 200;

    private Dictionary<string, CachedText> young = new(StringComparer.Ordinal);
    private Dictionary<string, CachedText> old = new(StringComparer.Ordinal);
    private long youngBytes;

    public CachedText? Find(string text)
    {
        if (young.TryGetValue(text, out CachedText? found))
        {
            return found;
        }

        if (old.Remove(text, out found))
        {
            Add(text, found);
        }

        return found;
    }

    public void Add(string text, CachedText entry)
    {
        long bytes = EntryBytes + (sizeof(char) * (long)text.Length) + entry.Vectors.Sum(vector => (long)sizeof(float) * vector.Length);
        if (youngBytes + bytes > maxBytes / 2)
        {
            (old, young) = (young, new Dictionary<string, CachedText>(StringComparer.Ordinal));
            youngBytes = 0;
        }

        if (bytes <= maxBytes / 2 && young.TryAdd(text, entry))
        {
            youngBytes += bytes;
        }
    }
}

/// <summary>Represents the vectors of a text, one for each dimension, and its length.</summary>
internal sealed record CachedText(float[][] Vectors, StellaTokenCount TokenCount);
