using Microsoft.Extensions.AI;

namespace StellaInterop.Extensions;

/// <summary>The end of a chain: the generator that computes, and the form in which it gives vectors.</summary>
internal interface IStellaSource<TEmbedding>
    where TEmbedding : Embedding
{
    StellaEmbeddingGenerator Generator { get; }

    EmbeddingForm<TEmbedding> Form { get; }
}

/// <summary>A generator whose vectors come in another form. It owns nothing.</summary>
internal sealed class StellaFormGenerator<TEmbedding>(StellaEmbeddingGenerator generator, EmbeddingForm<TEmbedding> form)
    : IEmbeddingGenerator<string, TEmbedding>, IStellaSource<TEmbedding>
    where TEmbedding : Embedding
{
    public StellaEmbeddingGenerator Generator => generator;

    public EmbeddingForm<TEmbedding> Form => form;

    public Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        generator.GenerateAsync(values, options, form, cancellationToken);

    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is null && serviceType.IsInstanceOfType(this) ? this : generator.GetService(serviceType, serviceKey);
    }

    public void Dispose()
    {
    }
}
