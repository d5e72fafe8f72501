using System.Text.Json;
using System.Text.Json.Serialization;
using StellaInterop.Bulk;

namespace StellaInterop.Cluster.Jobs;

/// <summary>Represents a job as it was submitted. It has the same meaning on every node, so its paths are full paths of the shared folder.</summary>
internal sealed record JobRequest
{
    public required IReadOnlyList<string> Inputs { get; init; }

    public required string Output { get; init; }

    public StellaBulkInputFormat InputFormat { get; init; }

    public required string TextColumn { get; init; }

    public string? IdColumn { get; init; }

    public StellaBulkFormat Format { get; init; }

    public StellaBulkVectorType VectorType { get; init; }

    public IReadOnlyList<int> Dimensions { get; init; } = [];

    public string? Prompt { get; init; }

    public StellaLongTextBehavior LongTextBehavior { get; init; }

    public bool Normalize { get; init; }

    public int ChunkTokens { get; init; }

    public bool Deduplicate { get; init; }

    public long? MaxErrors { get; init; }

    /// <summary>Gets the settings of the plan, the fingerprints of the model included. Every node must have them too.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Settings { get; init; } = [];

    /// <summary>Describes a job.</summary>
    /// <param name="options">The options of the job.</param>
    /// <param name="settings">The settings of its plan.</param>
    public static JobRequest Of(StellaBulkOptions options, IReadOnlyList<KeyValuePair<string, string>> settings) => new()
    {
        Inputs = [.. options.Inputs.Select(Path.GetFullPath)],
        Output = FolderOf(options.Output),
        InputFormat = options.InputFormat,
        TextColumn = options.TextColumn,
        IdColumn = options.IdColumn,
        Format = options.Format,
        VectorType = options.VectorType,
        Dimensions = options.Dimensions,
        Prompt = options.Prompt.Name,
        LongTextBehavior = options.LongTextBehavior,
        Normalize = options.Normalize,
        ChunkTokens = options.ChunkTokens,
        Deduplicate = options.Deduplicate,
        MaxErrors = options.MaxErrors,
        Settings = settings,
    };

    /// <summary>Returns the name by which the cluster knows an output folder.</summary>
    public static string FolderOf(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));

    /// <summary>Reads a job as <see cref="ToJson"/> writes it.</summary>
    /// <exception cref="JsonException">The text is not a job.</exception>
    public static JobRequest Parse(string json) =>
        JsonSerializer.Deserialize(json, JobJson.Default.JobRequest) ?? throw new JsonException("The job is null.");

    public string ToJson() => JsonSerializer.Serialize(this, JobJson.Default.JobRequest);

    public StellaBulkOptions ToOptions() => new()
    {
        Inputs = Inputs,
        Output = Output,
        InputFormat = InputFormat,
        TextColumn = TextColumn,
        IdColumn = IdColumn,
        Format = Format,
        VectorType = VectorType,
        Dimensions = Dimensions,
        Prompt = Prompt is null ? StellaPrompt.Default : StellaPrompt.FromName(Prompt),
        LongTextBehavior = LongTextBehavior,
        Normalize = Normalize,
        ChunkTokens = ChunkTokens,
        Deduplicate = Deduplicate,
        MaxErrors = MaxErrors,
    };
}

[JsonSourceGenerationOptions(UseStringEnumConverter = true)]
[JsonSerializable(typeof(JobRequest))]
[JsonSerializable(typeof(PinnedJob))]
[JsonSerializable(typeof(PinnedBits))]
internal sealed partial class JobJson : JsonSerializerContext;
