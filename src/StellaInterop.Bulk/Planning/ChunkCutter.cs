using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Planning;

/// <summary>Cuts the rows of the inputs into chunks in one pass, in memory that does not grow with the input.</summary>
/// <remarks>
/// The pass keeps short runs of rows. If there are very many, it joins neighbours, so that they are twice as long from then on. At the end,
/// when the tokens of the whole input are known, runs are joined to chunks. All of it depends on the rows alone.
/// </remarks>
internal sealed class ChunkCutter(int chunkTokens)
{
    /// <summary>The number of chunks of a large input. Each chunk has more tokens then, so that a job has a bounded number of files.</summary>
    public const int UsualChunkLimit = 20_000;

    private const int MaxRuns = 2 * UsualChunkLimit;

    private List<Chunk> runs = [];
    private long runTokens = chunkTokens;
    private Chunk open;

    /// <summary>Gets the number of rows.</summary>
    public long RowCount { get; private set; }

    /// <summary>Gets the estimated tokens of all rows.</summary>
    public long Tokens { get; private set; }

    /// <summary>Adds the next row.</summary>
    /// <param name="file">The index of its file.</param>
    /// <param name="position">The place before it.</param>
    /// <param name="row">The row.</param>
    /// <param name="tokens">Its estimated tokens, at least one.</param>
    public void Add(int file, RowPosition position, in InputRow row, long tokens)
    {
        if (open.RowCount == 0)
        {
            open = new Chunk(file, position, 0, 0, 0);
        }

        open = open with
        {
            RowCount = open.RowCount + 1,
            Tokens = open.Tokens + tokens,
            Checksum = RowChecksum.Add(open.Checksum, file, row),
        };
        RowCount++;
        Tokens += tokens;
        if (open.Tokens >= runTokens)
        {
            Close();
        }
    }

    /// <summary>Returns the chunks. Each but the last has at least the tokens of the options, and a 20,000th of all tokens.</summary>
    public Chunk[] Finish()
    {
        Close();
        return [.. Join(runs, Math.Max(chunkTokens, (Tokens + UsualChunkLimit - 1) / UsualChunkLimit))];
    }

    private void Close()
    {
        if (open.RowCount > 0)
        {
            runs.Add(open);
            open = default;
        }

        if (runs.Count >= MaxRuns)
        {
            runTokens *= 2;
            runs = Join(runs, runTokens);
        }
    }

    /// <summary>Joins runs until each but the last has a number of tokens.</summary>
    private static List<Chunk> Join(List<Chunk> runs, long tokens)
    {
        var joined = new List<Chunk>();
        foreach (Chunk run in runs)
        {
            if (joined.Count > 0 && joined[^1] is var last && last.Tokens < tokens)
            {
                joined[^1] = last with
                {
                    RowCount = last.RowCount + run.RowCount,
                    Tokens = last.Tokens + run.Tokens,
                    Checksum = RowChecksum.Join(last.Checksum, run.Checksum, run.RowCount),
                };
            }
            else
            {
                joined.Add(run);
            }
        }

        return joined;
    }
}
