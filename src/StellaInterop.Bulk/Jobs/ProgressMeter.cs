using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Counts the progress of a run, and reports it. Thread-safe.</summary>
internal sealed class ProgressMeter(IProgress<StellaBulkProgress>? progress, TimeProvider clock, Func<long> duplicates)
{
    private readonly Lock gate = new();
    private BulkPlan? plan;
    private long[] openRows = [];
    private StellaBulkPhase phase;
    private long phaseStart = clock.GetTimestamp();
    private long readRows;
    private long doneRows;
    private long doneTokens;
    private int doneChunks;
    private int checkedChunks;
    private long errors;
    private long runRows;
    private long runTokens;
    private long runEstimate;

    /// <summary>Gets the number of rows at fault.</summary>
    public long ErrorCount
    {
        get
        {
            lock (gate)
            {
                return errors;
            }
        }
    }

    /// <summary>Gets the number of chunks that this run completed.</summary>
    public int CommittedCount { get; private set; }

    public void Read(long rows) => Update(() => readRows = rows);

    /// <summary>Begins to embed.</summary>
    public void Begin(BulkPlan newPlan, PartSet committed, long errorCount) => Update(() =>
    {
        plan = newPlan;
        errors = errorCount;
        Enter(StellaBulkPhase.Embedding);
        openRows = [.. newPlan.Chunks.Select(chunk => chunk.RowCount)];
        foreach (PartId part in committed.Parts)
        {
            _ = SetDone(part);
        }
    });

    /// <summary>Records rows that were embedded.</summary>
    public void Embedded(int rows, long tokens) => Update(() =>
    {
        runRows += rows;
        runTokens += tokens;
    });

    /// <summary>Records a part that is there now, whoever made it.</summary>
    public void Done(PartId part, long errorCount, bool isOwn) => Update(() =>
    {
        long tokens = SetDone(part);
        errors += errorCount;
        if (isOwn)
        {
            runEstimate += tokens;
            CommittedCount += openRows[part.Chunk] == 0 ? 1 : 0;
        }
    });

    /// <summary>Records a part that was checked. Parts are checked in the order of their rows.</summary>
    public void Checked(PartId part) => Update(() =>
    {
        if (phase != StellaBulkPhase.Checking)
        {
            Enter(StellaBulkPhase.Checking);
        }

        // A chunk that was halved is checked when the half with its last row is.
        long rows = plan!.Chunks[part.Chunk].RowCount;
        (long begin, long count) = part.RowsOf(rows);
        checkedChunks = part.Chunk + (begin + count == rows ? 1 : 0);
    });

    /// <summary>Counts a part as done.</summary>
    /// <returns>Its estimated tokens.</returns>
    private long SetDone(PartId part)
    {
        Chunk chunk = plan!.Chunks[part.Chunk];
        long rows = part.RowsOf(chunk.RowCount).Count;
        long tokens = part.ShareOf(chunk.Tokens, chunk.RowCount);
        doneRows += rows;
        doneTokens += tokens;
        openRows[part.Chunk] -= rows;
        doneChunks += openRows[part.Chunk] == 0 ? 1 : 0;
        return tokens;
    }

    private void Enter(StellaBulkPhase newPhase)
    {
        phase = newPhase;
        phaseStart = clock.GetTimestamp();
    }

    private void Update(Action change)
    {
        StellaBulkProgress value;
        lock (gate)
        {
            change();
            value = Snapshot();
        }

        // The receiver is foreign code, so it runs without the lock.
        progress?.Report(value);
    }

    private StellaBulkProgress Snapshot()
    {
        TimeSpan elapsed = clock.GetElapsedTime(phaseStart);
        double seconds = Math.Max(elapsed.TotalSeconds, double.Epsilon);
        long total = plan?.Tokens ?? 0;
        bool isChecking = phase == StellaBulkPhase.Checking;
        int chunks = plan?.Chunks.Count ?? 0;
        double share = isChecking ? (double)checkedChunks / Math.Max(1, chunks) : total == 0 ? 0 : (double)doneTokens / total;
        double? left = isChecking ? (share == 0 ? null : seconds * ((1 / share) - 1))
            : runEstimate == 0 ? null
            : seconds * (total - doneTokens) / runEstimate;
        return new StellaBulkProgress
        {
            Phase = phase,
            RowCount = plan?.RowCount ?? readRows,
            CompletedRowCount = doneRows,
            ChunkCount = chunks,
            CompletedChunkCount = isChecking ? checkedChunks : doneChunks,
            CompletedShare = share,
            ErrorCount = errors,
            DuplicateCount = duplicates(),
            RowsPerSecond = isChecking || runRows == 0 ? 0 : runRows / seconds,
            TokensPerSecond = isChecking || runTokens == 0 ? 0 : runTokens / seconds,
            Elapsed = elapsed,
            TimeLeft = left is { } value ? TimeSpan.FromSeconds(Math.Min(value, TimeSpan.MaxValue.TotalSeconds / 2)) : null,
        };
    }
}
