using System.Globalization;

namespace StellaInterop.Bulk;

/// <summary>Provides options for a bulk job.</summary>
/// <remarks>
/// <para>
/// The options up to <see cref="ChunkTokens"/>, the model and the content of the input files determine the plan of a job, and so the names and
/// the bytes of its files. A job with the same plan continues where another one stopped. The other options may differ from run to run.
/// </para>
/// <para>Immutable and thread-safe.</para>
/// </remarks>
public sealed record StellaBulkOptions
{
    /// <summary>The default of <see cref="ChunkTokens"/>.</summary>
    internal const int DefaultChunkTokens = 32_768;

    /// <summary>
    /// Gets the input files, folders and patterns. A folder stands for all files in it and in its subfolders whose names end as an input
    /// format does. A pattern has <c>*</c>, <c>?</c> or <c>**</c>. Files of a folder or pattern are in ordinal order of their names.
    /// </summary>
    public required IReadOnlyList<string> Inputs { get; init; }

    /// <summary>
    /// Gets the format of the input files; <see cref="StellaBulkInputFormat.Auto"/> by default. With another value, a folder or a pattern
    /// stands for files of any name. The ends <c>.gz</c> and <c>.zst</c> still tell that a file is compressed.
    /// </summary>
    public StellaBulkInputFormat InputFormat { get; init; }

    /// <summary>Gets the output folder. It is created if it does not exist; otherwise it must be empty, or of the same job.</summary>
    public required string Output { get; init; }

    /// <summary>Gets the name of the column with the text; <c>text</c> by default.</summary>
    public string TextColumn { get; init; } = "text";

    /// <summary>
    /// Gets the name of the column with the id. <see langword="null"/>, the default, takes the column <c>id</c> if there is one. A row without
    /// an id gets one from its file and its number.
    /// </summary>
    public string? IdColumn { get; init; }

    /// <summary>Gets the format of the parts; <see cref="StellaBulkFormat.Parquet"/> by default.</summary>
    public StellaBulkFormat Format { get; init; } = StellaBulkFormat.Parquet;

    /// <summary>Gets the number format of the vectors; <see cref="StellaBulkVectorType.Float32"/> by default.</summary>
    public StellaBulkVectorType VectorType { get; init; } = StellaBulkVectorType.Float32;

    /// <summary>Gets the dimensions of the vectors of each row; empty, the default, for the model's default dimension.</summary>
    public IReadOnlyList<int> Dimensions { get; init; } = [];

    /// <summary>Gets the prompt of the texts.</summary>
    public StellaPrompt Prompt { get; init; }

    /// <summary>
    /// Gets the treatment of a text that has too many tokens; <see cref="StellaLongTextBehavior.Truncate"/> by default. With
    /// <see cref="StellaLongTextBehavior.Error"/> its row is at fault.
    /// </summary>
    public StellaLongTextBehavior LongTextBehavior { get; init; } = StellaLongTextBehavior.Truncate;

    /// <summary>Gets whether vectors are scaled to length 1; <see langword="true"/> by default.</summary>
    public bool Normalize { get; init; } = true;

    /// <summary>
    /// Gets the estimated tokens of a chunk, 1 to 1073741824; 32768 by default. Each chunk becomes a part, and is the work that a killed run
    /// loses. A large input has larger chunks, so that there are at most about 20,000.
    /// </summary>
    public int ChunkTokens { get; init; } = DefaultChunkTokens;

    /// <summary>
    /// Gets whether equal texts are computed once, within a chunk and as far back as 200 MB of vectors reach. The vectors have the same
    /// bits with and without it. <see langword="false"/> by default.
    /// </summary>
    public bool Deduplicate { get; init; }

    /// <summary>
    /// Gets the largest number of rows at fault, those of earlier runs included, 0 or more. A job with more ends with
    /// <see cref="StellaBulkErrorCode.TooManyErrors"/>. <see langword="null"/>, the default, for no limit.
    /// </summary>
    public long? MaxErrors { get; init; }

    /// <summary>
    /// Gets the number of shards, 1 to 1000000; 1 by default. A job of a shard makes the chunks whose index has the remainder
    /// <see cref="Shard"/> - 1, and the job that makes the last chunk of all completes the output.
    /// </summary>
    public int ShardCount { get; init; } = 1;

    /// <summary>Gets the shard, 1 to <see cref="ShardCount"/>; 1 by default.</summary>
    public int Shard { get; init; } = 1;

    /// <summary>Gets the clock of rates and of the time left; the system's by default.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <exception cref="ArgumentException">An option is missing or outside its range; the message names it.</exception>
    internal void Check()
    {
        ArgumentNullException.ThrowIfNull(Inputs);
        ArgumentException.ThrowIfNullOrEmpty(Output);
        ArgumentException.ThrowIfNullOrEmpty(TextColumn);
        ArgumentNullException.ThrowIfNull(Dimensions);
        ArgumentNullException.ThrowIfNull(TimeProvider);
        ThrowIf(Inputs.Count == 0 || Inputs.Any(string.IsNullOrEmpty), nameof(Inputs), "must name at least one file, folder or pattern, and none may be empty");
        ThrowIf(IdColumn is "", nameof(IdColumn), "must not be empty");
        ThrowIf(!Enum.IsDefined(InputFormat), nameof(InputFormat), "is not defined");
        ThrowIf(!Enum.IsDefined(Format), nameof(Format), "is not defined");
        ThrowIf(!Enum.IsDefined(VectorType), nameof(VectorType), "is not defined");
        ThrowIf(!Enum.IsDefined(LongTextBehavior), nameof(LongTextBehavior), "is not defined");
        ThrowIf(Dimensions.Any(dimension => dimension < 1), nameof(Dimensions), "must be above zero");
        ThrowIf(Dimensions.Distinct().Count() != Dimensions.Count, nameof(Dimensions), "must not name a dimension twice");
        ThrowIf(ChunkTokens is < 1 or > 1 << 30, nameof(ChunkTokens), "must be 1 to 1073741824");
        ThrowIf(MaxErrors < 0, nameof(MaxErrors), "must be 0 or more");
        ThrowIf(ShardCount is < 1 or > 1_000_000, nameof(ShardCount), "must be 1 to 1000000");
        ThrowIf(
            Shard < 1 || Shard > ShardCount, nameof(Shard), string.Create(CultureInfo.InvariantCulture, $"must be 1 to {ShardCount}, the number of shards"));
    }

    private static void ThrowIf(bool isWrong, string name, string rule)
    {
        if (isWrong)
        {
            throw new ArgumentException($"{name} {rule}.", name);
        }
    }
}
