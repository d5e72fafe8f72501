using System.Buffers;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.AI;

namespace StellaInterop.Extensions;

/// <summary>
/// Represents the outermost generator of a chain. It adds all settings that determine a vector to the options of each call,
/// because a cache of Microsoft.Extensions.AI derives its key from the options. It also restores the token counts and usage of
/// cached results.
/// </summary>
internal sealed class CacheKeyGenerator<TEmbedding> : DelegatingEmbeddingGenerator<string, TEmbedding>
    where TEmbedding : Embedding
{
    /// <summary>
    /// The maximum number of keys per call. Middleware that changes the options, or a reload of the model, needs another key.
    /// </summary>
    private const int MaxAttempts = 5;

    /// <summary>The maximum size of <see cref="effectiveOptions"/>. Calls with further options need two attempts each.</summary>
    private const int MaxRememberedOptions = 64;

    private readonly IStellaSource<TEmbedding> source;
    private readonly bool isCached;
    /// <summary>Maps the options of a call to the options after the changes by middleware.</summary>
    private readonly ConcurrentDictionary<StellaEmbedOptions, StellaEmbedOptions> effectiveOptions = new();

    /// <exception cref="InvalidOperationException">
    /// The chain does not end in a Stella generator, or <c>ConfigureOptions</c> is after the cache.
    /// </exception>
    public CacheKeyGenerator(IEmbeddingGenerator<string, TEmbedding> inner)
        : base(inner)
    {
        source = inner.GetService<IStellaSource<TEmbedding>>() ?? throw new InvalidOperationException(
            $"The chain does not end in a {nameof(StellaEmbeddingGenerator)}, so its model is unknown. Remove the call of UseStellaCacheKeys.");
        var cache = inner.GetService<CachingEmbeddingGenerator<string, TEmbedding>>();
        isCached = cache is not null;
        if (cache?.GetService<ConfigureOptionsEmbeddingGenerator<string, TEmbedding>>() is not null)
        {
            throw new InvalidOperationException(
                "ConfigureOptions is after UseDistributedCache. The key of the cache would not include the options that it sets, so the cache would "
                + "return vectors for other options. Put ConfigureOptions before UseDistributedCache.");
        }
    }

    public override Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        return !isCached || CachedCall.FromOptions(options, source.Generator) is not null
            // The chain has no cache, or an outer generator of this class has already added the key.
            ? base.GenerateAsync(values, options, cancellationToken)
            // Copy the texts: the cache reads them twice, for the key and for the answer, and the caller may change them in
            // between.
            : GenerateAsync([.. values], options, source.Generator.ResolveOptions(options), cancellationToken);
    }

    private async Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync(
        string[] texts, EmbeddingGenerationOptions? options, StellaEmbedOptions callOptions, CancellationToken cancellationToken)
    {
        StellaEmbedOptions assumed = effectiveOptions.GetValueOrDefault(callOptions, callOptions);
        for (int attempt = 1; ; attempt++)
        {
            ModelIdentity identity = await source.Generator.GetIdentityAsync(assumed, cancellationToken).ConfigureAwait(false);
            var call = new CachedCall(callOptions, CachedCall.CreateKey(identity, assumed, source.Format.Name));
            try
            {
                GeneratedEmbeddings<TEmbedding> found =
                    await base.GenerateAsync(texts, AddKey(options, call, texts), cancellationToken).ConfigureAwait(false);
                return RestoreMetadata(found);
            }
            catch (CacheKeyMismatchException e) when (e.Call == call && attempt < MaxAttempts)
            {
                assumed = e.Actual;
                if (effectiveOptions.Count < MaxRememberedOptions || effectiveOptions.ContainsKey(callOptions))
                {
                    effectiveOptions[callOptions] = assumed;
                }
            }
            catch (CacheKeyMismatchException e) when (e.Call == call)
            {
                throw new InvalidOperationException(
                    $"The options or the model of a call differed from its cache key {MaxAttempts} times in a row. "
                    + "Middleware below a cache must change the options of equal calls in the same way.",
                    e);
            }
        }
    }

    /// <summary>
    /// Returns a copy of the options with the key. The key replaces the prompt and the raw options, which a cache does not include.
    /// </summary>
    private static EmbeddingGenerationOptions AddKey(EmbeddingGenerationOptions? options, CachedCall call, string[] texts)
    {
        EmbeddingGenerationOptions result = options?.Clone() ?? new EmbeddingGenerationOptions();
        result.RawRepresentationFactory = _ => call;
        result.AdditionalProperties ??= [];
        _ = result.AdditionalProperties.Remove(StellaEmbeddingGenerator.PromptProperty);
        result.AdditionalProperties[StellaEmbeddingGenerator.CacheKeyProperty] = call.Key + HashInvalidTexts(texts);
        return result;
    }

    /// <summary>
    /// Returns a hash of the texts if one of them is not valid Unicode; otherwise an empty string. A cache serializes texts as
    /// JSON, which replaces each unpaired surrogate by U+FFFD, so different texts would have the same key.
    /// </summary>
    private static string HashInvalidTexts(string[] texts)
    {
        if (texts.All(text => text is null || IsValid(text)))
        {
            return "";
        }

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string text in texts)
        {
            hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes((text ?? "").AsSpan()));
            hash.AppendData([0xff, 0xff]);
        }

        return $";texts={Convert.ToHexStringLower(hash.GetHashAndReset())}";
    }

    private static bool IsValid(ReadOnlySpan<char> text)
    {
        for (int start = text.IndexOfAnyInRange('\ud800', '\udfff'); start >= 0; start = text.IndexOfAnyInRange('\ud800', '\udfff'))
        {
            if (Rune.DecodeFromUtf16(text = text[start..], out _, out int consumed) != OperationStatus.Done)
            {
                return false;
            }

            text = text[consumed..];
        }

        return true;
    }

    /// <summary>
    /// Restores the properties of embeddings from a cache. A cache returns numbers as JSON values, and drops the properties of the
    /// call as a whole.
    /// </summary>
    private static GeneratedEmbeddings<TEmbedding> RestoreMetadata(GeneratedEmbeddings<TEmbedding> found)
    {
        long tokens = 0;
        int truncated = 0;
        foreach (TEmbedding embedding in found)
        {
            CacheWriteGuard.Attach(embedding);
            if (embedding.GetTokenCount() is not { } count)
            {
                return found; // Other middleware created new embeddings, whose metadata is kept.
            }

            tokens += count.Kept;
            truncated += count.IsTruncated ? 1 : 0;
            AdditionalPropertiesDictionary properties = embedding.AdditionalProperties!;
            properties.SetTokenCount(count);
            if (embedding.GetScale() is { } scale)
            {
                properties[StellaEmbeddingGenerator.ScaleProperty] = scale;
            }
        }

        StellaEmbeddingGenerator.SetUsage(found, tokens, truncated);
        return found;
    }
}
