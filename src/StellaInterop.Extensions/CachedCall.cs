using System.Globalization;
using Microsoft.Extensions.AI;

namespace StellaInterop.Extensions;

/// <summary>Identifies a loaded model by the fingerprint of its vectors of one dimension.</summary>
internal readonly record struct ModelIdentity(string Fingerprint, StellaModelInfo Info);

/// <summary>
/// Represents a call that has a cache key. <see cref="CacheKeyGenerator{TEmbedding}"/> passes it to the generator of the model by
/// <c>RawRepresentationFactory</c>, which is not part of the key.
/// </summary>
/// <param name="Options">The options of the call before changes by middleware.</param>
/// <param name="Key">The key.</param>
internal sealed record CachedCall(StellaEmbedOptions Options, string Key)
{
    /// <summary>Returns the call in options; <see langword="null"/> if the options have none.</summary>
    public static CachedCall? FromOptions(EmbeddingGenerationOptions? options, IEmbeddingGenerator generator) =>
        options?.AdditionalProperties?.ContainsKey(StellaEmbeddingGenerator.CacheKeyProperty) == true
            ? options.RawRepresentationFactory?.Invoke(generator) as CachedCall
            : null;

    /// <summary>Creates one line with all settings except for the text that determine a vector and its properties.</summary>
    public static string CreateKey(ModelIdentity identity, StellaEmbedOptions options, string format) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"v1;fingerprint={identity.Fingerprint};dimension={options.Dimension ?? identity.Info.DefaultDimension}"
            + $";precision={identity.Info.Precision};max_tokens={identity.Info.MaxTokens}"
            + $";normalize={options.Normalize};long_text={options.LongTextBehavior};invalid_text={options.InvalidTextBehavior}"
            + $";form={format};prompt={Uri.EscapeDataString(options.Prompt.Name ?? "")}");
}

/// <summary>
/// Represents a call whose options or model differ from its cache key. The exception keeps the answer out of the cache.
/// </summary>
#pragma warning disable CA1064 // CacheKeyGenerator always catches it.
internal sealed class CacheKeyMismatchException(CachedCall call, StellaEmbedOptions actual) : Exception(
    "The options of this call changed after its cache key was created, or the model was reloaded. The call is repeated with another key.")
{
    public CachedCall Call => call;

    /// <summary>Gets the options with which the generator was called.</summary>
    public StellaEmbedOptions Actual => actual;
}
#pragma warning restore CA1064
