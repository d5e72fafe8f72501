namespace StellaInterop.Bulk;

/// <summary>Represents the plan of a bulk job: what a run would do.</summary>
public sealed record StellaBulkPlan
{
    /// <summary>Gets the number of input files.</summary>
    public required int FileCount { get; init; }

    /// <summary>Gets the number of bytes of the input files.</summary>
    public required long ByteCount { get; init; }

    /// <summary>Gets the number of rows, those at fault included.</summary>
    public required long RowCount { get; init; }

    /// <summary>Gets the estimated number of tokens.</summary>
    public required long EstimatedTokenCount { get; init; }

    /// <summary>Gets the number of chunks.</summary>
    public required int ChunkCount { get; init; }

    /// <summary>Gets the number of chunks that have a part already.</summary>
    public required int CommittedChunkCount { get; init; }

    /// <summary>
    /// Gets the estimated time of the chunks that have no part yet, those of other shards not included; <see langword="null"/> if nothing
    /// was measured.
    /// </summary>
    public required TimeSpan? EstimatedTime { get; init; }

    /// <summary>Gets the estimated bytes of the vectors in the output, before a compression.</summary>
    public required long EstimatedVectorBytes { get; init; }

    /// <summary>Gets the dimensions of the vectors of each row.</summary>
    public required IReadOnlyList<int> Dimensions { get; init; }

    /// <summary>Gets the settings by name, as they are in the manifest.</summary>
    public required IReadOnlyList<KeyValuePair<string, string>> Settings { get; init; }

    /// <summary>Gets the hash of the plan, 64 lower case hexadecimal digits. The names of the parts have the first eight.</summary>
    public required string Hash { get; init; }
}
