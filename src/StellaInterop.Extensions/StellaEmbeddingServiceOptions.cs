using System.ComponentModel.DataAnnotations;
using StellaInterop.ModelFiles;

namespace StellaInterop;

/// <summary>Represents the options of a registered model, as a section of the configuration.</summary>
/// <remarks>
/// <see cref="Model"/> and <see cref="Pool"/> are nested sections. The container provides the objects that they do not set: an
/// <see cref="Microsoft.Extensions.Logging.ILoggerFactory"/>, an <see cref="System.Diagnostics.Metrics.IMeterFactory"/>, a
/// <see cref="TimeProvider"/>, and the <see cref="StellaMemoryGovernor"/> that all models share.
/// </remarks>
public sealed class StellaEmbeddingServiceOptions : IValidatableObject
{
    /// <summary>The name of the section that <c>AddStellaEmbeddings()</c> reads.</summary>
    public const string DefaultSectionName = "StellaEmbeddings";

    /// <summary>
    /// Gets or sets the path of the model folder. A relative path is relative to the working directory. Set either this property or
    /// <see cref="ModelName"/>.
    /// </summary>
    public string? ModelPath { get; set; }

    /// <summary>
    /// Gets or sets the name of a model in the Hugging Face cache, such as <c>NovaSearch/stella_en_400M_v5</c>. Set either this
    /// property or <see cref="ModelPath"/>.
    /// </summary>
    public string? ModelName { get; set; }

    /// <summary>
    /// Gets or sets the revision of <see cref="ModelName"/>: a branch, a tag, <c>refs/pr/N</c> or a full commit. The default is
    /// <see langword="null"/>, which means <see cref="HuggingFaceCache.DefaultRevision"/>.
    /// </summary>
    public string? Revision { get; set; }

    /// <summary>
    /// Gets or sets the options of the model. <see cref="StellaModelOptions.Dimension"/> is the dimension of the vectors of the
    /// registered generators.
    /// </summary>
    public StellaModelOptions Model { get; set; } = new();

    /// <summary>
    /// Gets or sets the options of the pool. <see cref="StellaPoolOptions.DefaultTimeout"/> is the timeout of all calls of the
    /// generators.
    /// </summary>
    public StellaPoolOptions Pool { get; set; } = new();

    /// <summary>
    /// Gets or sets the treatment of a text that has too many tokens. The default is <see cref="StellaLongTextBehavior.Truncate"/>.
    /// </summary>
    public StellaLongTextBehavior LongTextBehavior { get; set; } = StellaLongTextBehavior.Truncate;

    /// <summary>
    /// Gets or sets the treatment of a text that is not valid Unicode. The default is
    /// <see cref="StellaInvalidTextBehavior.Error"/>.
    /// </summary>
    public StellaInvalidTextBehavior InvalidTextBehavior { get; set; } = StellaInvalidTextBehavior.Error;

    /// <summary>
    /// Gets or sets the behavior of a call when the queue is full. The default is <see cref="StellaQueueFullMode.Reject"/>.
    /// <see cref="StellaQueueFullMode.Wait"/> requires a <see cref="StellaPoolOptions.DefaultTimeout"/>.
    /// </summary>
    public StellaQueueFullMode QueueFullMode { get; set; } = StellaQueueFullMode.Reject;

    /// <summary>
    /// Gets or sets whether the host loads the model before it takes requests. The default is <see langword="false"/>, which means
    /// that the first call loads the model.
    /// </summary>
    public bool WarmUpOnStart { get; set; }

    /// <summary>
    /// Returns an error for each option that is missing or out of range, including the options of the nested sections.
    /// </summary>
    IEnumerable<ValidationResult> IValidatableObject.Validate(ValidationContext validationContext)
    {
        if (string.IsNullOrEmpty(ModelPath) == string.IsNullOrEmpty(ModelName))
        {
            yield return new ValidationResult(
                $"Set either {nameof(ModelPath)}, a folder, or {nameof(ModelName)}, a model in the Hugging Face cache.",
                [nameof(ModelPath), nameof(ModelName)]);
        }

        if (!string.IsNullOrEmpty(ModelName) && !HuggingFaceCache.IsModelName(ModelName))
        {
            yield return new ValidationResult(
                $"{nameof(ModelName)} is '{Printable.Line(ModelName)}'; it must have the form ORG/NAME, such as NovaSearch/stella_en_400M_v5.", [nameof(ModelName)]);
        }

        if (!string.IsNullOrEmpty(Revision))
        {
            if (!HuggingFaceCache.IsRevision(Revision))
            {
                yield return new ValidationResult(
                    $"{nameof(Revision)} is '{Printable.Line(Revision)}'; it must be the name of a branch, a tag or a commit.", [nameof(Revision)]);
            }

            if (string.IsNullOrEmpty(ModelName))
            {
                yield return new ValidationResult(
                    $"{nameof(Revision)} is '{Printable.Line(Revision)}', but a folder has no revision. Set {nameof(ModelName)}, or omit {nameof(Revision)}.",
                    [nameof(Revision), nameof(ModelName)]);
            }
        }

        foreach ((string name, IValidatableObject? section) in new (string, IValidatableObject?)[] { (nameof(Model), Model), (nameof(Pool), Pool) })
        {
            if (section is null)
            {
                yield return new ValidationResult($"{name} must not be null.", [name]);
                continue;
            }

            var context = new ValidationContext(section, name, validationContext, items: null);
            foreach (ValidationResult result in section.Validate(context))
            {
                yield return new ValidationResult(result.ErrorMessage, result.MemberNames.Select(member => $"{name}.{member}"));
            }
        }

        foreach (ValidationResult? result in (ValidationResult?[])
        [
            CheckDefined(nameof(LongTextBehavior), LongTextBehavior),
            CheckDefined(nameof(InvalidTextBehavior), InvalidTextBehavior),
            CheckDefined(nameof(QueueFullMode), QueueFullMode),
        ])
        {
            if (result is not null)
            {
                yield return result;
            }
        }

        if (QueueFullMode == StellaQueueFullMode.Wait && Pool is { DefaultTimeout: null })
        {
            string timeout = $"{nameof(Pool)}.{nameof(Pool.DefaultTimeout)}";
            yield return new ValidationResult(
                $"{nameof(QueueFullMode)} is {QueueFullMode}, but {timeout} is not set, so calls could wait forever. Set {timeout}.", [timeout]);
        }
    }

    private static ValidationResult? CheckDefined<T>(string name, T value)
        where T : struct, Enum =>
        Enum.IsDefined(value) ? null : new ValidationResult($"{name} is {value}; it must be {string.Join(" or ", Enum.GetNames<T>())}.", [name]);

    /// <summary>Returns the path of the model folder.</summary>
    /// <exception cref="StellaModelFolderException">The named model is not in the Hugging Face cache.</exception>
    internal string GetModelFolder() => ModelPath is { Length: > 0 } path
        ? path
        : HuggingFaceCache.FromEnvironment().GetModelFolder(
            ModelName!, Revision is { Length: > 0 } revision ? revision : HuggingFaceCache.DefaultRevision);
}
