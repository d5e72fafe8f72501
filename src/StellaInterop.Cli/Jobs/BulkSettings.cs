using StellaInterop.Cli.Output;

namespace StellaInterop.Cli.Jobs;

/// <summary>Specifies the format of the output of a bulk job.</summary>
internal enum PartFormat
{
    Parquet,
    JsonLines,
    Npy,
}

/// <summary>Specifies the format of the input of a bulk job.</summary>
internal enum BulkInputFormat
{
    Auto,
    JsonLines,
    Csv,
    Tsv,
    Parquet,
    Text,
}

/// <summary>The options of <c>stella bulk</c>.</summary>
internal sealed record BulkSettings
{
    public required IReadOnlyList<string> Inputs { get; init; }

    public required string Output { get; init; }

    public required BulkInputFormat InputFormat { get; init; }

    public required string TextColumn { get; init; }

    public required string? IdColumn { get; init; }

    public required PartFormat Format { get; init; }

    public required IReadOnlyList<int> Dimensions { get; init; }

    public required OutputType VectorType { get; init; }

    public required bool IsRaw { get; init; }

    public required StellaPrompt Prompt { get; init; }

    public required StellaLongTextBehavior LongTextBehavior { get; init; }

    /// <summary>Gets the estimated tokens of a part; <see langword="null"/> for the default.</summary>
    public required int? ChunkTokens { get; init; }

    public required bool Deduplicates { get; init; }

    public required int? MaxErrors { get; init; }

    public required (int Number, int Count) Shard { get; init; }

    public required bool IsDryRun { get; init; }

    public required bool HasJsonProgress { get; init; }

    public required bool IsQuiet { get; init; }

    /// <summary>Gets the function that creates the pool. It takes the function that writes a line to standard error.</summary>
    public required Func<Action<string>, StellaEmbeddingPool> CreatePool { get; init; }
}
