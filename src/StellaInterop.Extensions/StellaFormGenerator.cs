using Microsoft.Extensions.AI;

namespace StellaInterop.Extensions;

/// <summary>A generator whose vectors come in another form. It owns nothing.</summary>
internal sealed class StellaFormGenerator<TEmbedding>(
    StellaEmbeddingGenerator generator, Func<ReadOnlyMemory<float>, TEmbedding> convert) : IEmbeddingGenerator<string, TEmbedding>
    where TEmbedding : Embedding
{
    public Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        generator.GenerateAsync(values, options, convert, cancellationToken);

    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is null && serviceType.IsInstanceOfType(this) ? this : generator.GetService(serviceType, serviceKey);
    }

    public void Dispose()
    {
    }
}
