using System.Diagnostics.CodeAnalysis;

namespace StellaInterop.Serving;

/// <summary>Keeps the vectors of texts in bounded memory, and drops the least recently used ones. Thread-safe.</summary>
/// <param name="capacity">The largest size in bytes.</param>
internal sealed class ResultCache(long capacity)
{
    /// <summary>The estimated bytes of an entry besides its text and vector: a list node, a dictionary slot, three object headers.</summary>
    private const int EntryOverhead = 160;

    private readonly Lock gate = new();
    private readonly Dictionary<TextKey, LinkedListNode<Entry>> entries = [];

    /// <summary>The entries, the most recently used first.</summary>
    private readonly LinkedList<Entry> order = [];

    private long bytes;

    public long Bytes
    {
        get
        {
            lock (gate)
            {
                return bytes;
            }
        }
    }

    public bool TryGet(TextKey key, [NotNullWhen(true)] out float[]? vector, out StellaTokenCount count)
    {
        lock (gate)
        {
            if (!entries.TryGetValue(key, out LinkedListNode<Entry>? node))
            {
                vector = null;
                count = default;
                return false;
            }

            order.Remove(node);
            order.AddFirst(node);
            (_, vector, count) = node.Value;
            return true;
        }
    }

    /// <summary>Stores a copy of a vector.</summary>
    public void Add(TextKey key, ReadOnlySpan<float> vector, StellaTokenCount count)
    {
        long size = SizeOf(key, vector.Length);
        if (size > capacity)
        {
            return;
        }

        var entry = new Entry(key, vector.ToArray(), count);
        lock (gate)
        {
            if (entries.ContainsKey(key))
            {
                return;
            }

            entries.Add(key, order.AddFirst(entry));
            bytes += size;
            while (bytes > capacity)
            {
                Entry last = order.Last!.Value;
                order.RemoveLast();
                _ = entries.Remove(last.Key);
                bytes -= SizeOf(last.Key, last.Vector.Length);
            }
        }
    }

    private static long SizeOf(TextKey key, int dimension) =>
        EntryOverhead + (sizeof(char) * (long)key.Text.Length) + (sizeof(float) * (long)dimension);

    private sealed record Entry(TextKey Key, float[] Vector, StellaTokenCount Count);
}
