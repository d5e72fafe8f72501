using System.Text.Json.Serialization;
using Microsoft.Extensions.Logging;

namespace StellaInterop;

/// <summary>The arithmetic of the encoder.</summary>
public enum StellaPrecision
{
    /// <summary>The fastest that loses nothing worth having, chosen by the machine. What it became is in <see cref="StellaModelInfo.Precision"/>.</summary>
    Auto = 0,

    /// <summary>32-bit floating point.</summary>
    F32 = 1,

    /// <summary>
    /// bfloat16 weights, 32-bit sums: half the memory, and at least twice as fast where the processor multiplies
    /// bfloat16. Vectors differ from those in 32 bits by a cosine of less than 0.001.
    /// </summary>
    BF16 = 2,

    /// <summary>
    /// 8-bit integer weights with a scale for each output, and activations with one for each token: a quarter of the
    /// memory, and the fastest. Measure on your own texts whether its vectors are good enough for them.
    /// </summary>
    Int8 = 3,
}

/// <summary>Which implementation of the encoder computes.</summary>
public enum StellaEncoder
{
    /// <summary>The library's own kernels, for every precision.</summary>
    Kernels = 0,

    /// <summary>The model of the candle library, in 32 bits: the reference that the kernels are compared with. Slower.</summary>
    Candle = 1,
}

/// <summary>The instructions of the processor that the kernels use, each with those before it.</summary>
public enum StellaCpuLevel
{
    /// <summary>What every processor of the architecture has.</summary>
    Portable = 0,

    /// <summary>AVX2 and FMA.</summary>
    Avx2 = 1,

    /// <summary>AVX-512.</summary>
    Avx512 = 2,

    /// <summary>AVX-512 with products of bytes (VNNI).</summary>
    Avx512Vnni = 3,

    /// <summary>AVX-512 with products of bytes and of bfloat16.</summary>
    Avx512BF16 = 4,

    /// <summary>Tiles of bytes and of bfloat16 (Intel AMX).</summary>
    Amx = 5,
}

/// <summary>How the bytes of a model's weights come into memory.</summary>
public enum StellaLoadMode
{
    /// <summary>
    /// By ordinary reads. A file that is cut or overwritten meanwhile is an error and nothing else; with a manifest, the
    /// bytes that are used are those that were hashed. From a cold disk it is also the faster one.
    /// </summary>
    Copied = 0,

    /// <summary>
    /// Copied out of a memory map, which is taken down when the model is loaded. A file that is cut meanwhile ends the
    /// process with SIGBUS: only for folders that nobody writes to.
    /// </summary>
    Mapped = 1,
}

/// <summary>How to load a model.</summary>
public sealed record StellaModelOptions
{
    /// <summary>The largest value of <see cref="MaxTokens"/>.</summary>
    public const int MaxTokensLimit = 8192;

    /// <summary>The limit of a text if neither the caller nor the folder names one.</summary>
    internal const int DefaultMaxTokens = 512;

    /// <summary>The largest value of <see cref="Threads"/>.</summary>
    public const int ThreadsLimit = 1024;

    /// <summary>
    /// The display name of the model in logs, metrics and metadata. <see langword="null"/> takes the repository's name,
    /// <c>org/name</c>, in the Hugging Face cache, and the folder's name elsewhere.
    /// </summary>
    public string? Name { get; init; }

    /// <summary>
    /// Length of the vectors of calls that name none. <see langword="null"/> takes the one of the folder's
    /// <c>modules.json</c>.
    /// </summary>
    public int? Dimension { get; init; }

    /// <summary>
    /// Tokens that a text may have, special tokens and prompt included: 1 to 8192, and at most as many as the model has positions.
    /// <see langword="null"/> takes the length that the folder names (<c>max_seq_length</c>, or <c>model_max_length</c> of the
    /// tokenizer), as far as the model has positions; or 512, with which Stella was trained, if the folder names none.
    /// </summary>
    public int? MaxTokens { get; init; }

    /// <summary>The arithmetic of the encoder.</summary>
    public StellaPrecision Precision { get; init; } = StellaPrecision.Auto;

    /// <summary>Which implementation computes.</summary>
    public StellaEncoder Encoder { get; init; } = StellaEncoder.Kernels;

    /// <summary>
    /// Threads that one call computes with, 1 to 1024. <see langword="null"/> takes as many as the process may use,
    /// processor affinity and container quota respected.
    /// </summary>
    public int? Threads { get; init; }

    /// <summary>How the bytes of the weights come into memory.</summary>
    public StellaLoadMode LoadMode { get; init; } = StellaLoadMode.Copied;

    /// <summary>Whether weights that are NaN or infinite are looked for and refused. On by default.</summary>
    public bool CheckWeights { get; init; } = true;

    /// <summary>
    /// A manifest with size and SHA-256 of every file, against which all that is loaded is held. <see langword="null"/>
    /// takes <c>stella.manifest.json</c> of the folder, if there is one.
    /// </summary>
    public string? ManifestPath { get; init; }

    /// <summary>
    /// Where native log records go, under the category <c>StellaInterop.Native</c>. <see langword="null"/> is silence.
    /// </summary>
    [JsonIgnore]
    public ILoggerFactory? LoggerFactory { get; init; }
}
