using Microsoft.Extensions.Logging;

namespace StellaInterop;

/// <summary>The arithmetic of the encoder.</summary>
public enum StellaPrecision
{
    /// <summary>The fastest that loses nothing worth having, chosen by the machine. What it became is in <see cref="StellaModelInfo.Precision"/>.</summary>
    Auto = 0,

    /// <summary>32-bit floating point.</summary>
    F32 = 1,

    /// <summary>bfloat16 weights, 32-bit sums. Not available in this version.</summary>
    BF16 = 2,

    /// <summary>8-bit integer weights and activations. Not available in this version.</summary>
    Int8 = 3,
}

/// <summary>How to load a model.</summary>
public sealed record StellaModelOptions
{
    /// <summary>The largest value of <see cref="MaxTokens"/>.</summary>
    public const int MaxTokensLimit = 8192;

    /// <summary>The largest value of <see cref="Threads"/>.</summary>
    public const int ThreadsLimit = 1024;

    /// <summary>
    /// Length of the vectors of calls that name none. <see langword="null"/> takes the one of the folder's
    /// <c>modules.json</c>.
    /// </summary>
    public int? Dimension { get; init; }

    /// <summary>
    /// Tokens that a text may have, special tokens and prompt included: 1 to 8192. The default is 512, the length that
    /// Stella was trained with.
    /// </summary>
    public int MaxTokens { get; init; } = 512;

    /// <summary>The arithmetic of the encoder.</summary>
    public StellaPrecision Precision { get; init; } = StellaPrecision.Auto;

    /// <summary>
    /// Threads that one call computes with, 1 to 1024. <see langword="null"/> takes as many as the process may use,
    /// processor affinity and container quota respected.
    /// </summary>
    public int? Threads { get; init; }

    /// <summary>
    /// Where native log records go, under the category <c>StellaInterop.Native</c>. <see langword="null"/> is silence.
    /// </summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}
