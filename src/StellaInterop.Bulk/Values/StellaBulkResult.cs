namespace StellaInterop.Bulk;

/// <summary>Represents the end of a run of a bulk job.</summary>
public sealed record StellaBulkResult
{
    /// <summary>Gets whether all chunks have a part, and the output folder is complete. Only a shard may end without it.</summary>
    public required bool IsComplete { get; init; }

    /// <summary>Gets the number of chunks.</summary>
    public required int ChunkCount { get; init; }

    /// <summary>Gets the number of chunks that have no part yet, because they belong to other shards.</summary>
    public required int OpenChunkCount { get; init; }

    /// <summary>Gets the number of chunks that this run completed.</summary>
    public required int CommittedChunkCount { get; init; }

    /// <summary>Gets the number of rows with vectors in the output; <see langword="null"/> unless it is complete.</summary>
    public required long? RowCount { get; init; }

    /// <summary>Gets the number of tokens that were used for the output; <see langword="null"/> unless it is complete.</summary>
    public required long? TokenCount { get; init; }

    /// <summary>Gets the number of rows whose texts were truncated; <see langword="null"/> unless the output is complete.</summary>
    public required long? TruncatedRowCount { get; init; }

    /// <summary>Gets the number of rows at fault in the output, so far as it is there.</summary>
    public required long ErrorCount { get; init; }

    /// <summary>Gets the number of texts that this run did not compute because it had an equal one.</summary>
    public required long DuplicateCount { get; init; }

    /// <summary>Gets the time that the run took.</summary>
    public required TimeSpan Elapsed { get; init; }
}
