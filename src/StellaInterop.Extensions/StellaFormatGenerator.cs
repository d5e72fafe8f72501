using Microsoft.Extensions.AI;

namespace StellaInterop.Extensions;

/// <summary>
/// Represents the innermost generator of a chain: the generator that computes, and the number format of its embeddings.
/// </summary>
internal interface IStellaSource<TEmbedding>
    where TEmbedding : Embedding
{
    StellaEmbeddingGenerator Generator { get; }

    EmbeddingFormat<TEmbedding> Format { get; }
}

/// <summary>Converts the vectors of a generator to another number format. It does not own the generator.</summary>
internal sealed class StellaFormatGenerator<TEmbedding>(StellaEmbeddingGenerator generator, EmbeddingFormat<TEmbedding> format)
    : IEmbeddingGenerator<string, TEmbedding>, IStellaSource<TEmbedding>
    where TEmbedding : Embedding
{
    public StellaEmbeddingGenerator Generator => generator;

    public EmbeddingFormat<TEmbedding> Format => format;

    public Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        generator.GenerateAsync(values, options, format, cancellationToken);

    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is null && serviceType.IsInstanceOfType(this) ? this : generator.GetService(serviceType, serviceKey);
    }

    public void Dispose()
    {
    }
}
