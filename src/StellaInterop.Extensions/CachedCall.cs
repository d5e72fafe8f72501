using System.Globalization;
using Microsoft.Extensions.AI;

namespace StellaInterop.Extensions;

/// <summary>A loaded model, with the fingerprint of its vectors of one dimension.</summary>
internal readonly record struct ModelIdentity(string Fingerprint, StellaModelInfo Info);

/// <summary>
/// A call under a cache key. It goes from <see cref="CacheKeyGenerator{TEmbedding}"/> to the generator of the model by
/// <c>RawRepresentationFactory</c>, which no cache reads.
/// </summary>
/// <param name="Wanted">The options of the call, before any middleware could change them.</param>
/// <param name="Key">The key.</param>
internal sealed record CachedCall(StellaEmbedOptions Wanted, string Key)
{
    /// <summary>The call that these options carry, if they do.</summary>
    public static CachedCall? Of(EmbeddingGenerationOptions? options, IEmbeddingGenerator generator) =>
        options?.AdditionalProperties?.ContainsKey(StellaEmbeddingGenerator.CacheKeyProperty) == true
            ? options.RawRepresentationFactory?.Invoke(generator) as CachedCall
            : null;

    /// <summary>Everything besides the text that decides a vector and what is said beside it, as one line.</summary>
    public static string KeyOf(ModelIdentity identity, StellaEmbedOptions options, string form) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"v1;fingerprint={identity.Fingerprint};dimension={options.Dimension ?? identity.Info.DefaultDimension}"
            + $";precision={identity.Info.Precision};max_tokens={identity.Info.MaxTokens}"
            + $";normalize={options.Normalize};long_text={options.LongTextBehavior};invalid_text={options.InvalidTextBehavior}"
            + $";form={form};prompt={Uri.EscapeDataString(options.Prompt.Name ?? "")}");
}

/// <summary>
/// The generator of the model found other options or another model than the cache key names, so that its answer must not get to the
/// cache under this key.
/// </summary>
#pragma warning disable CA1064 // It passes through middleware, and ends in CacheKeyGenerator.
internal sealed class CacheKeyMismatchException(CachedCall call, StellaEmbedOptions actual) : Exception(
    "The options of this call were changed after its cache key was made, or the model was loaded anew. The call is made again with the right key.")
{
    public CachedCall Call => call;

    /// <summary>The options with which the generator was called.</summary>
    public StellaEmbedOptions Actual => actual;
}
#pragma warning restore CA1064
