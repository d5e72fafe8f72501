using System.Security.Cryptography;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Decides which part is next. A process works through its parts in order, and elsewhere once it meets another process.</summary>
/// <remarks>
/// Processes do not talk to each other: each sees the parts of the others in the folder. A part that two processes compute at once is work in
/// vain, and no harm. Thread-safe.
/// </remarks>
internal sealed class ChunkQueue
{
    private readonly JobOutput output;
    private readonly Func<int, int> random;
    private readonly PartId[] parts;
    private readonly bool[] isOpen;
    private readonly Lock gate = new();
    private int next;

    /// <param name="output">The output.</param>
    /// <param name="committed">The parts that are there.</param>
    /// <param name="shard">The shard, from 0.</param>
    /// <param name="shardCount">The number of shards.</param>
    /// <param name="random">Returns a random number below another one.</param>
    public ChunkQueue(JobOutput output, PartSet committed, int shard, int shardCount, Func<int, int>? random = null)
    {
        this.output = output;
        this.random = random ?? RandomNumberGenerator.GetInt32;
        parts = [.. committed.Missing().Where(part => part.Chunk % shardCount == shard)];
        isOpen = [.. parts.Select(_ => true)];
    }

    /// <summary>Takes the next part.</summary>
    /// <returns><see langword="null"/> if no part is left.</returns>
    public PartId? Take()
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

                if (!output.IsCommitted(parts[index]))
                {
                    isOpen[index] = false;
                    next = index + 1;
                    return parts[index];
                }

                LeaveToOthers();
            }

            return null;
        }
    }

    /// <summary>Goes on at a random part, because another process works at this one.</summary>
    public void Jump()
    {
        lock (gate)
        {
            LeaveToOthers();
        }
    }

    private void LeaveToOthers()
    {
        PartSet committed = output.ReadCommitted();
        for (int i = 0; i < parts.Length; i++)
        {
            isOpen[i] &= !committed.Covers(parts[i]);
        }

        next = isOpen.Length == 0 ? 0 : random(isOpen.Length);
    }
}
