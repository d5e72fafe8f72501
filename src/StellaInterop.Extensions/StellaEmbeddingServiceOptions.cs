using System.ComponentModel.DataAnnotations;
using StellaInterop.Pooling;

namespace StellaInterop;

/// <summary>Settings of embeddings in a service, as they stand in configuration.</summary>
/// <remarks>What a setting means in detail is told at the property of the same name in <see cref="StellaPoolOptions"/> and <see cref="StellaModelOptions"/>.</remarks>
public sealed class StellaEmbeddingsOptions : IValidatableObject
{
    /// <summary>The section of the configuration that is read where none is named.</summary>
    public const string DefaultSection = "StellaEmbeddings";

    /// <summary>The model's folder. Either this or <see cref="ModelName"/>.</summary>
    public string? ModelPath { get; set; }

    /// <summary>The name of a model in the Hugging Face cache, such as <c>NovaSearch/stella_en_400M_v5</c>.</summary>
    public string? ModelName { get; set; }

    /// <summary>
    /// Gets or sets the revision of <see cref="ModelName"/> in the cache: a branch, a tag, <c>refs/pr/N</c> or a commit in full;
    /// <see cref="HuggingFaceCache.DefaultRevision"/> if it is not set.
    /// </summary>
    public string? Revision { get; set; }

    /// <summary>Length of the vectors; the model's default when it is not set.</summary>
    [Range(1, 1 << 20)]
    public int? Dimension { get; set; }

    /// <summary>Tokens that a text may have; what the folder says, or 512, when it is not set.</summary>
    [Range(1, StellaModelOptions.MaxTokensLimit)]
    public int? MaxTokens { get; set; }

    /// <summary>The arithmetic of the encoder.</summary>
    public StellaPrecision Precision { get; set; } = StellaPrecision.Auto;

    /// <summary>A manifest to hold the model against; that of its folder when it is not set.</summary>
    public string? ManifestPath { get; set; }

    /// <summary>What to do with a text that has too many tokens.</summary>
    public StellaLongText OnLongText { get; set; } = StellaLongText.Truncate;

    /// <summary>Threads of one worker.</summary>
    [Range(1, StellaModelOptions.ThreadsLimit)]
    public int? Threads { get; set; }

    /// <summary>Workers that stay when there is nothing to do; 0 unloads the model after <see cref="IdleTimeout"/>.</summary>
    [Range(0, StellaPoolOptions.WorkersLimit)]
    public int MinWorkers { get; set; } = 1;

    /// <summary>Workers that there may be.</summary>
    [Range(1, StellaPoolOptions.WorkersLimit)]
    public int? MaxWorkers { get; set; }

    /// <summary>Tokens of one batch.</summary>
    [Range(1, 1 << 20)]
    public int? BatchTokens { get; set; }

    /// <summary>Calls that may be accepted and not answered.</summary>
    [Range(1, int.MaxValue)]
    public int MaxQueuedCalls { get; set; } = 1024;

    /// <summary>Tokens that may wait.</summary>
    [Range(1, long.MaxValue)]
    public long? MaxQueuedTokens { get; set; }

    /// <summary>Share of the queue that bulk calls may hold, above 0 and at most 1.</summary>
    [Range(0.0, 1.0, MinimumIsExclusive = true)]
    public double BulkShare { get; set; } = 0.75;

    /// <summary>Time of a call from its arrival to its answer; no limit when it is not set.</summary>
    public TimeSpan? Timeout { get; set; }

    /// <summary>What a call does when the queue is full. Waiting needs a <see cref="Timeout"/>.</summary>
    public StellaWhenFull WhenFull { get; set; } = StellaWhenFull.Reject;

    /// <summary>After this time without work, workers beyond <see cref="MinWorkers"/> end.</summary>
    public TimeSpan IdleTimeout { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>Time after which a load that is still going on makes the pool degraded.</summary>
    public TimeSpan LongLoad { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>How long the end of the service waits for accepted calls.</summary>
    public TimeSpan DrainTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Bytes of vectors that are kept for texts that come again; 0 keeps none.</summary>
    [Range(0, long.MaxValue)]
    public long CacheBytes { get; set; }

    /// <summary>Whether the model is loaded before the service takes requests. Otherwise the first call loads it.</summary>
    public bool WarmUpOnStart { get; set; }

    /// <inheritdoc/>
    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (string.IsNullOrEmpty(ModelPath) == string.IsNullOrEmpty(ModelName))
        {
            yield return new ValidationResult(
                $"set either {nameof(ModelPath)}, a folder, or {nameof(ModelName)}, a model in the Hugging Face cache",
                [nameof(ModelPath), nameof(ModelName)]);
        }

        if (!string.IsNullOrEmpty(ModelName) && !HuggingFaceCache.IsModelName(ModelName))
        {
            yield return new ValidationResult(
                $"{nameof(ModelName)} is '{ModelName}'; it must be like NovaSearch/stella_en_400M_v5", [nameof(ModelName)]);
        }

        if (!string.IsNullOrEmpty(Revision))
        {
            if (!HuggingFaceCache.IsRevision(Revision))
            {
                yield return new ValidationResult(
                    $"{nameof(Revision)} is '{Printable.Line(Revision)}'; it must be the name of a branch, a tag or a commit", [nameof(Revision)]);
            }

            if (string.IsNullOrEmpty(ModelName))
            {
                yield return new ValidationResult(
                    $"{nameof(Revision)} is '{Printable.Line(Revision)}', and a folder has no revision: set {nameof(ModelName)}, or leave {nameof(Revision)} out",
                    [nameof(Revision), nameof(ModelName)]);
            }
        }

        if (WhenFull == StellaWhenFull.Wait && Timeout is null)
        {
            yield return new ValidationResult(
                $"{nameof(WhenFull)} is {WhenFull}: set {nameof(Timeout)} too, or calls could wait for ever", [nameof(Timeout)]);
        }

        foreach ((string name, TimeSpan? time, bool zero) in new (string, TimeSpan?, bool)[]
        {
            (nameof(Timeout), Timeout, false),
            (nameof(IdleTimeout), IdleTimeout, false),
            (nameof(LongLoad), LongLoad, false),
            (nameof(DrainTimeout), DrainTimeout, true),
        })
        {
            if (time < TimeSpan.Zero || (time == TimeSpan.Zero && !zero) || time > StellaPoolOptions.LongestTime)
            {
                yield return new ValidationResult(
                    $"{name} is {time}; it must be {PoolTimes.Range(zero)}", [name]);
            }
        }
    }

    /// <exception cref="StellaModelFolderException">The named model is not in the cache.</exception>
    internal string FindModel() => ModelPath is { Length: > 0 } path
        ? path
        : HuggingFaceCache.FromEnvironment().Find(ModelName!, Revision is { Length: > 0 } revision ? revision : HuggingFaceCache.DefaultRevision);

    internal StellaPoolOptions ToPoolOptions() => new()
    {
        Model = new StellaModelOptions
        {
            Name = ModelPath is { Length: > 0 } ? null : ModelName,
            Dimension = Dimension,
            MaxTokens = MaxTokens,
            Precision = Precision,
            Threads = Threads,
            ManifestPath = ManifestPath,
        },
        MinWorkers = MinWorkers,
        MaxWorkers = MaxWorkers,
        BatchTokens = BatchTokens ?? new StellaPoolOptions().BatchTokens,
        MaxQueuedCalls = MaxQueuedCalls,
        MaxQueuedTokens = MaxQueuedTokens,
        BulkShare = BulkShare,
        LongLoad = LongLoad,
        DefaultTimeout = Timeout,
        IdleTimeout = IdleTimeout,
        DrainTimeout = DrainTimeout,
        CacheBytes = CacheBytes,
    };
}
