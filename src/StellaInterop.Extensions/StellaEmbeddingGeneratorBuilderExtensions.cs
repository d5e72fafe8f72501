using Microsoft.Extensions.AI;
using StellaInterop.Extensions;

namespace StellaInterop;

/// <summary>Middleware for chains that end in a generator of Stella.</summary>
public static class StellaEmbeddingGeneratorBuilderExtensions
{
    /// <summary>
    /// Puts what decides a vector beside the text into the keys of the caches that are chained after it: model, revision, dimension, prompt,
    /// form, precision, limit and treatment of long texts.
    /// </summary>
    /// <remarks>
    /// <para>
    /// <c>AddStellaEmbeddings</c> and <see cref="StellaEmbeddingGenerator.AsBuilder"/> have chained it already. Any other builder needs it
    /// before its cache, for example one of <see cref="StellaEmbeddingGenerator.AsInt8"/>.
    /// </para>
    /// <para>
    /// The first call through a cache asks for the fingerprint of the model, which may load the model and read its files once.
    /// A call that the cache answers needs the loaded model too, because its files may have changed.
    /// </para>
    /// </remarks>
    /// <typeparam name="TEmbedding">The form of the vectors.</typeparam>
    /// <param name="builder">The builder. Its generator must be one of Stella.</param>
    /// <returns>The same builder.</returns>
    public static EmbeddingGeneratorBuilder<string, TEmbedding> UseStellaCacheKeys<TEmbedding>(
        this EmbeddingGeneratorBuilder<string, TEmbedding> builder)
        where TEmbedding : Embedding
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.Use(inner => new CacheKeyGenerator<TEmbedding>(inner));
    }
}
