using System.Security.Cryptography;
using StellaInterop.Bulk.Commit;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Decides which chunk is next. A process works through its chunks in order, and elsewhere once it meets another process.</summary>
/// <remarks>
/// Processes do not talk to each other: each sees the parts of the others in the folder. A chunk that two processes compute at once is work in
/// vain, and no harm. Thread-safe.
/// </remarks>
internal sealed class ChunkQueue
{
    private readonly JobOutput output;
    private readonly Func<int, int> random;
    private readonly bool[] isOpen;
    private readonly Lock gate = new();
    private int next;

    /// <param name="output">The output.</param>
    /// <param name="committed">Which chunks have a part.</param>
    /// <param name="shard">The shard, from 0.</param>
    /// <param name="shardCount">The number of shards.</param>
    /// <param name="random">Returns a random number below another one.</param>
    public ChunkQueue(JobOutput output, bool[] committed, int shard, int shardCount, Func<int, int>? random = null)
    {
        this.output = output;
        this.random = random ?? RandomNumberGenerator.GetInt32;
        isOpen = [.. committed.Select((isCommitted, i) => !isCommitted && i % shardCount == shard)];
    }

    /// <summary>Takes the next chunk.</summary>
    /// <returns><see langword="null"/> if no chunk is left.</returns>
    public int? Take()
    {
        lock (gate)
        {
            while (Array.IndexOf(isOpen, true, next) is var index)
            {
                if (index < 0)
                {
                    index = Array.IndexOf(isOpen, true);
                    if (index < 0)
                    {
                        return null;
                    }
                }

                if (!output.IsCommitted(index))
                {
                    isOpen[index] = false;
                    next = index + 1;
                    return index;
                }

                LeaveToOthers();
            }

            return null;
        }
    }

    /// <summary>Goes on at a random chunk, because another process works at this one.</summary>
    public void Jump()
    {
        lock (gate)
        {
            LeaveToOthers();
        }
    }

    private void LeaveToOthers()
    {
        bool[] committed = output.ReadCommitted();
        for (int i = 0; i < committed.Length; i++)
        {
            isOpen[i] &= !committed[i];
        }

        next = isOpen.Length == 0 ? 0 : random(isOpen.Length);
    }
}
