using System.ComponentModel.DataAnnotations;
using System.Text.Json.Serialization;
using Microsoft.Extensions.Logging;

namespace StellaInterop;

/// <summary>Specifies the arithmetic of the encoder.</summary>
public enum StellaPrecision
{
    /// <summary>
    /// <see cref="BFloat16"/> if the processor multiplies it in hardware, <see cref="Float32"/> otherwise.
    /// <see cref="StellaModelInfo.Precision"/> tells which of the two was chosen.
    /// </summary>
    Auto = 0,

    /// <summary>32-bit floating point.</summary>
    Float32 = 1,

    /// <summary>
    /// bfloat16 weights with 32-bit sums: half the memory, and at least twice as fast if the processor multiplies bfloat16 in
    /// hardware. The cosine with the vector of <see cref="Float32"/> is above 0.999.
    /// </summary>
    BFloat16 = 2,

    /// <summary>
    /// 8-bit integer weights with one scale per output, and activations with one scale per token: a quarter of the memory, and the
    /// fastest. Measure on your own texts whether the quality is enough for them.
    /// </summary>
    Int8 = 3,
}

/// <summary>Specifies which implementation of the encoder runs.</summary>
internal enum StellaEncoder
{
    /// <summary>The library's own kernels, for every precision.</summary>
    Kernels = 0,

    /// <summary>The model of the candle library in 32 bits, the slow reference that tests compare the kernels with.</summary>
    Candle = 1,
}

/// <summary>Specifies the instruction set that the kernels use. Each level includes those before it.</summary>
public enum StellaCpuLevel
{
    /// <summary>The instructions that every processor of the architecture has.</summary>
    Portable = 0,

    /// <summary>AVX2 and FMA.</summary>
    Avx2 = 1,

    /// <summary>AVX-512.</summary>
    Avx512 = 2,

    /// <summary>AVX-512 with dot products of bytes (VNNI).</summary>
    Avx512Vnni = 3,

    /// <summary>AVX-512 with dot products of bytes and of bfloat16.</summary>
    Avx512Bf16 = 4,

    /// <summary>Tiles of bytes and of bfloat16 (Intel AMX).</summary>
    Amx = 5,
}

/// <summary>Specifies how the weights are read from disk.</summary>
public enum StellaLoadMode
{
    /// <summary>
    /// Ordinary reads. A file that is truncated or overwritten during the load causes an error, never a crash. With a manifest, the
    /// bytes that are used are the bytes that were hashed. It is also the faster mode on a cold disk.
    /// </summary>
    Copied = 0,

    /// <summary>
    /// A copy out of a memory map, which is unmapped at the end of the load. A file that is truncated during the load ends the process
    /// with SIGBUS, so use this mode only for folders that are not written to.
    /// </summary>
    Mapped = 1,
}

/// <summary>Provides options for loading a model.</summary>
/// <remarks>
/// Not thread-safe while it is being changed. <see cref="StellaModel.Load"/> and the constructors of
/// <see cref="StellaEmbeddingPool"/> copy it, so that later changes have no effect.
/// </remarks>
public sealed record StellaModelOptions : IValidatableObject
{
    /// <summary>
    /// Gets or sets the display name of the model in logs, metrics and metadata. <see langword="null"/> takes the repository's name,
    /// <c>org/name</c>, for a folder in the Hugging Face cache, and the folder's name otherwise.
    /// </summary>
    public string? Name { get; set; }

    /// <summary>
    /// Gets or sets the length of vectors for calls that do not set a dimension; one of <see cref="StellaModelInfo.Dimensions"/>.
    /// <see langword="null"/> takes the dimension that the folder's <c>modules.json</c> names.
    /// </summary>
    public int? Dimension { get; set; }

    /// <summary>
    /// Gets or sets the largest number of tokens of a text, special tokens and prompt included: 1 to 8192, and at most the positions of
    /// the model. The default is <see langword="null"/>: the limit of the folder, or 512 if it has none. The folder's limit is
    /// <c>max_seq_length</c>, or <c>model_max_length</c> of the tokenizer, and at most the positions of the model.
    /// </summary>
    public int? MaxTokens { get; set; }

    /// <summary>
    /// Gets or sets the arithmetic of the encoder; <see cref="StellaPrecision.Auto"/> by default, which depends on the processor. Set a
    /// precision if vectors of several machines are compared.
    /// </summary>
    public StellaPrecision Precision { get; set; } = StellaPrecision.Auto;

    /// <summary>Gets or sets the implementation of the encoder.</summary>
    internal StellaEncoder Encoder { get; set; } = StellaEncoder.Kernels;

    /// <summary>
    /// Gets or sets the number of threads of one call, 1 to 1024; in a pool, of one worker. The default is <see langword="null"/>: one
    /// thread per processor that the process may use, by its affinity and the quota of its container. A pool uses at most 8 by default.
    /// </summary>
    public int? Threads { get; set; }

    /// <summary>Gets or sets how the weights are read from disk; <see cref="StellaLoadMode.Copied"/> by default.</summary>
    public StellaLoadMode LoadMode { get; set; } = StellaLoadMode.Copied;

    /// <summary>Gets or sets whether a load refuses weights that are NaN or infinite; <see langword="true"/> by default.</summary>
    public bool CheckWeights { get; set; } = true;

    /// <summary>
    /// Gets or sets the path of a manifest. The load compares every file with the size and the hash (BLAKE3 or SHA-256) in it.
    /// <see langword="null"/>, the default, takes <c>stella.manifest.json</c> of the folder if there is one.
    /// </summary>
    public string? ManifestPath { get; set; }

    /// <summary>
    /// Gets or sets the destination of native log records, under the category <c>StellaInterop.Native</c>. <see langword="null"/>
    /// disables them. Records below the lowest level that the category accepts when the model is loaded are dropped; a later change of
    /// the level to a lower one has no effect on the model.
    /// </summary>
    [JsonIgnore]
    public ILoggerFactory? LoggerFactory { get; set; }

    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range; the message names it.</exception>
    internal void Check() => Guard.ThrowFirst(Errors());

    /// <summary>
    /// Returns an error for each option that is outside its range. Whether a model has the dimension shows when it is loaded.
    /// </summary>
    IEnumerable<ValidationResult> IValidatableObject.Validate(ValidationContext validationContext) => Guard.Results(Errors());

    private IEnumerable<OptionError> Errors() => Guard.All(
        Guard.Range(nameof(MaxTokens), MaxTokens, 1, ModelLimits.MaxTextTokens),
        Guard.Range(nameof(Dimension), Dimension, 1, int.MaxValue),
        Guard.Range(nameof(Threads), Threads, 1, ModelLimits.MaxThreads),
        Guard.Defined(nameof(Precision), Precision),
        Guard.Defined(nameof(LoadMode), LoadMode));
}
