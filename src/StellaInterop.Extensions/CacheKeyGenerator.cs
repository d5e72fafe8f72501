using System.Buffers;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.AI;

namespace StellaInterop.Extensions;

/// <summary>
/// The outermost generator of a chain. It writes everything that decides a vector into the options of each call, because a cache of
/// Microsoft.Extensions.AI makes its key of them. Answers from a cache then get the same token counts and usage as computed ones.
/// </summary>
internal sealed class CacheKeyGenerator<TEmbedding> : DelegatingEmbeddingGenerator<string, TEmbedding>
    where TEmbedding : Embedding
{
    /// <summary>A key is made again when middleware changed the options, or the model was loaded anew. More often than this is no accident.</summary>
    private const int MaxAttempts = 5;

    /// <summary>Options whose change by middleware is remembered. Beyond, each call finds out again.</summary>
    private const int MaxChanges = 64;

    private readonly IStellaSource<TEmbedding> source;
    private readonly bool isCached;
    private readonly ConcurrentDictionary<StellaEmbedOptions, StellaEmbedOptions> changes = new();

    /// <exception cref="InvalidOperationException">The chain does not end in a generator of Stella, or options are changed below a cache.</exception>
    public CacheKeyGenerator(IEmbeddingGenerator<string, TEmbedding> inner)
        : base(inner)
    {
        source = inner.GetService<IStellaSource<TEmbedding>>() ?? throw new InvalidOperationException(
            $"The chain does not end in a {nameof(StellaEmbeddingGenerator)}, so nothing is known about its model. Remove the call of UseStellaCacheKeys.");
        var cache = inner.GetService<CachingEmbeddingGenerator<string, TEmbedding>>();
        isCached = cache is not null;
        if (cache?.GetService<ConfigureOptionsEmbeddingGenerator<string, TEmbedding>>() is not null)
        {
            throw new InvalidOperationException(
                "ConfigureOptions stands after UseDistributedCache, so the cache would not know the options that it sets, and would answer "
                + "with vectors of other options. Put ConfigureOptions before UseDistributedCache.");
        }
    }

    public override Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        return !isCached || CachedCall.Of(options, source.Generator) is not null
            // Nothing caches, or the key of an outer generator of this kind is there already.
            ? base.GenerateAsync(values, options, cancellationToken)
            // The cache reads the texts twice, for the key and for the answer, and they belong to the caller.
            : GenerateAsync([.. values], options, source.Generator.OptionsOf(options), cancellationToken);
    }

    private async Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync(
        string[] texts, EmbeddingGenerationOptions? options, StellaEmbedOptions wanted, CancellationToken cancellationToken)
    {
        StellaEmbedOptions assumed = changes.GetValueOrDefault(wanted, wanted);
        for (int attempt = 1; ; attempt++)
        {
            ModelIdentity identity = await source.Generator.IdentityAsync(assumed, cancellationToken).ConfigureAwait(false);
            var call = new CachedCall(wanted, CachedCall.KeyOf(identity, assumed, source.Form.Name));
            try
            {
                GeneratedEmbeddings<TEmbedding> found =
                    await base.GenerateAsync(texts, OptionsOf(options, call, texts), cancellationToken).ConfigureAwait(false);
                return SameAsUncached(found);
            }
            catch (CacheKeyMismatchException e) when (e.Call == call && attempt < MaxAttempts)
            {
                assumed = e.Actual;
                if (changes.Count < MaxChanges || changes.ContainsKey(wanted))
                {
                    changes[wanted] = assumed;
                }
            }
            catch (CacheKeyMismatchException e) when (e.Call == call)
            {
                throw new InvalidOperationException(
                    $"Middleware changed the options of one call in {MaxAttempts} ways in a row, so that no cache key fits. "
                    + "Middleware under a cache must treat equal calls alike.",
                    e);
            }
        }
    }

    /// <summary>The caller's options with the key. The key replaces the prompt and the raw options, because a cache cannot read those.</summary>
    private static EmbeddingGenerationOptions OptionsOf(EmbeddingGenerationOptions? options, CachedCall call, string[] texts)
    {
        EmbeddingGenerationOptions result = options?.Clone() ?? new EmbeddingGenerationOptions();
        result.RawRepresentationFactory = _ => call;
        result.AdditionalProperties ??= [];
        _ = result.AdditionalProperties.Remove(StellaEmbeddingGenerator.PromptProperty);
        result.AdditionalProperties[StellaEmbeddingGenerator.CacheKeyProperty] = call.Key + InvalidTextsOf(texts);
        return result;
    }

    /// <summary>
    /// A hash of the texts if one of them is no valid Unicode, otherwise nothing. A cache writes a text as JSON, which has U+FFFD
    /// for each surrogate without a partner, so different texts would have one key.
    /// </summary>
    private static string InvalidTextsOf(string[] texts)
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
    /// A cache gives back JSON values where the generator gave numbers, and it drops what was said about the call as a whole. Both are
    /// made again from the embeddings.
    /// </summary>
    private static GeneratedEmbeddings<TEmbedding> SameAsUncached(GeneratedEmbeddings<TEmbedding> found)
    {
        long tokens = 0;
        int truncated = 0;
        foreach (TEmbedding embedding in found)
        {
            CacheWriteGuard.Attach(embedding);
            if (embedding.GetTokenCount() is not { } count)
            {
                return found; // Other middleware made new embeddings. What it says stays.
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

        StellaEmbeddingGenerator.Describe(found, tokens, truncated);
        return found;
    }
}
