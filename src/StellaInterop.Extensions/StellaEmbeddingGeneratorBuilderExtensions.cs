using Microsoft.Extensions.AI;
using StellaInterop.Extensions;

namespace StellaInterop;

/// <summary>Provides extension methods for builders of Stella generators.</summary>
public static class StellaEmbeddingGeneratorBuilderExtensions
{
    /// <summary>
    /// Adds all settings that determine a vector to the keys of the caches after it in the chain. These settings are the
    /// fingerprint of the model, dimension, precision, token limit, normalization, prompt, number format, and the treatment of
    /// long and invalid texts.
    /// </summary>
    /// <remarks>
    /// <para>
    /// The builders of <c>AddStellaEmbeddings</c> and <see cref="StellaEmbeddingGenerator.AsBuilder"/> already have this
    /// middleware. Any other builder needs it before the cache, for example a builder over
    /// <see cref="StellaEmbeddingGenerator.AsInt8"/>.
    /// </para>
    /// <para>
    /// The first call through a cache reads the fingerprint of the model, which may load the model and read its files once. A call
    /// with a cached result needs the loaded model too, because its files may have changed.
    /// </para>
    /// <para>
    /// Building the chain throws <see cref="InvalidOperationException"/> if it does not end in a Stella generator, or if
    /// <c>ConfigureOptions</c> is after the cache.
    /// </para>
    /// </remarks>
    /// <typeparam name="TEmbedding">The type of the embeddings.</typeparam>
    /// <param name="builder">The builder, whose innermost generator is a Stella generator.</param>
    /// <returns>The same builder.</returns>
    public static EmbeddingGeneratorBuilder<string, TEmbedding> UseStellaCacheKeys<TEmbedding>(
        this EmbeddingGeneratorBuilder<string, TEmbedding> builder)
        where TEmbedding : Embedding
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.Use(inner => new CacheKeyGenerator<TEmbedding>(inner));
    }
}
