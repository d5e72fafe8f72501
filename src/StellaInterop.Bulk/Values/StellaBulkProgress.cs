namespace StellaInterop.Bulk;

/// <summary>Specifies what a bulk job is doing.</summary>
public enum StellaBulkPhase
{
    /// <summary>The job reads its inputs once, to cut them into chunks.</summary>
    Planning = 0,

    /// <summary>The job embeds chunks.</summary>
    Embedding = 1,

    /// <summary>The job checks the parts that other runs have made.</summary>
    Checking = 2,
}

/// <summary>Represents the progress of a bulk job. Parts of earlier runs and of other processes count as done.</summary>
public sealed record StellaBulkProgress
{
    /// <summary>Gets what the job is doing.</summary>
    public required StellaBulkPhase Phase { get; init; }

    /// <summary>Gets the number of rows that were planned; while planning, of those that were read.</summary>
    public required long RowCount { get; init; }

    /// <summary>Gets the number of rows of committed chunks.</summary>
    public required long CompletedRowCount { get; init; }

    /// <summary>Gets the number of chunks; 0 while planning.</summary>
    public required int ChunkCount { get; init; }

    /// <summary>Gets the number of committed chunks; while checking, of those that were checked.</summary>
    public required int CompletedChunkCount { get; init; }

    /// <summary>Gets the done share of the estimated tokens, 0 to 1.</summary>
    public required double CompletedShare { get; init; }

    /// <summary>Gets the number of rows at fault.</summary>
    public required long ErrorCount { get; init; }

    /// <summary>Gets the number of texts that this run did not compute because it had an equal one; 0 unless duplicates are looked for.</summary>
    public required long DuplicateCount { get; init; }

    /// <summary>Gets the rows that this run embeds in a second; 0 at first.</summary>
    public required double RowsPerSecond { get; init; }

    /// <summary>Gets the tokens that this run embeds in a second; 0 at first.</summary>
    public required double TokensPerSecond { get; init; }

    /// <summary>Gets the time since the phase began.</summary>
    public required TimeSpan Elapsed { get; init; }

    /// <summary>Gets the estimated time to the end of the phase; <see langword="null"/> until this run has done its first chunk.</summary>
    public required TimeSpan? TimeLeft { get; init; }
}
