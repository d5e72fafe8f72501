using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Represents the properties of a model that belong to a plan.</summary>
/// <param name="Dimensions">The dimensions of the vectors of a row.</param>
/// <param name="MaxTokens">The largest number of tokens of a text.</param>
/// <param name="Precision">The arithmetic of the encoder.</param>
/// <param name="Fingerprints">The fingerprint of each dimension.</param>
internal sealed record EmbedderInfo(
    IReadOnlyList<int> Dimensions, int MaxTokens, StellaPrecision Precision, IReadOnlyList<string> Fingerprints);

/// <summary>Represents texts and the room for their vectors.</summary>
/// <param name="texts">The texts.</param>
/// <param name="vectors">For each dimension, row-major <c>[texts, dimension]</c>; an array may be longer.</param>
internal sealed class TextBlock(string[] texts, float[][] vectors)
{
    public string[] Texts { get; } = texts;

    public float[][] Vectors { get; } = vectors;

    /// <summary>Gets the length of each text in tokens.</summary>
    public StellaTokenCount[] TokenCounts { get; } = new StellaTokenCount[texts.Length];

    /// <summary>Gets why a text has no vector; <see langword="null"/> for a text that has one.</summary>
    public RowFaultKind?[] Faults { get; } = new RowFaultKind?[texts.Length];
}

/// <summary>Computes vectors. The vectors of a text have the same bits whatever other texts there are. Thread-safe.</summary>
internal interface IEmbedder
{
    /// <summary>Loads the model, and returns its properties.</summary>
    Task<EmbedderInfo> OpenAsync(CancellationToken cancellationToken);

    /// <summary>Fills the vectors, counts and faults of a block.</summary>
    Task EmbedAsync(TextBlock block, CancellationToken cancellationToken);
}
