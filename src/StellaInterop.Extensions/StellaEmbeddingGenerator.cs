using Microsoft.Extensions.AI;
using StellaInterop.Extensions;

namespace StellaInterop;

/// <summary>Provides a pool as an embedding generator of Microsoft.Extensions.AI, for one kind of text: documents, or queries.</summary>
/// <remarks>
/// <para>
/// Thread-safe. Stella was trained with a prompt before queries and none before documents, so a generator has one
/// <see cref="Prompt"/>, and queries and documents have a generator each: nobody embeds documents as queries by accident.
/// </para>
/// <para>
/// <see cref="AsHalf"/>, <see cref="AsInt8"/> and <see cref="AsBinary"/> return generators of smaller forms. Disposing those has no effect.
/// </para>
/// <para>
/// The generator uses these options of <see cref="EmbeddingGenerationOptions"/>: <c>Dimensions</c>; <c>ModelId</c>, which must be its
/// own; <c>RawRepresentationFactory</c>, which may return <see cref="StellaEmbedOptions"/> that replace its own; and
/// <see cref="PromptProperty"/> in <c>AdditionalProperties</c>.
/// </para>
/// <para>
/// The key of a cache of Microsoft.Extensions.AI must include everything besides the text that decides a vector. Add the cache to the
/// builder of <see cref="AsBuilder"/> or <c>AddStellaEmbeddings</c>, which see to that. A cache that is put around the generator in
/// another way is refused when it writes its first answer.
/// </para>
/// </remarks>
public sealed class StellaEmbeddingGenerator : IEmbeddingGenerator<string, Embedding<float>>, IStellaSource<Embedding<float>>
{
    /// <summary>The provider's name in metadata and telemetry.</summary>
    public const string ProviderName = "stella";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of options for a <see cref="StellaPrompt"/>, or the name of one, that replaces that of the
    /// generator.
    /// </summary>
    public const string PromptProperty = "stella.prompt";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of an int8 embedding for its scale, a <see cref="float"/> of 0 or more.
    /// <see cref="StellaEmbeddingExtensions.GetScale"/> reads it.
    /// </summary>
    public const string ScaleProperty = "stella.scale";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of an embedding for the number of tokens that were used, an <see cref="int"/>.
    /// <see cref="StellaEmbeddingExtensions.GetTokenCount"/> reads this and the next three.
    /// </summary>
    public const string TokenCountProperty = "stella.token_count";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of an embedding for the number of tokens of the text before truncation, an <see cref="int"/>.
    /// </summary>
    public const string TotalTokenCountProperty = "stella.total_token_count";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of the embedding of a truncated text for the limit that truncated it, <c>tokens</c> or
    /// <c>bytes</c>; see <see cref="StellaTruncation"/>. Absent if the text was not truncated.
    /// </summary>
    public const string TruncationProperty = "stella.truncation";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of an embedding for the number of surrogates without a partner that were replaced by
    /// U+FFFD, an <see cref="int"/>. Absent if there was none.
    /// </summary>
    public const string ReplacedProperty = "stella.replaced";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of the embeddings of a call, as a whole, for the number of truncated texts, an
    /// <see cref="int"/>. Absent if there was none.
    /// </summary>
    public const string TruncatedTextCountProperty = "stella.truncated_text_count";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of options, inside a chain with a cache, for a line of text that becomes part of the cache's
    /// key. The line has everything besides the text that decides a vector, in no fixed format.
    /// </summary>
    public const string CacheKeyProperty = "stella.cache_key";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of an embedding for an empty list that throws when a cache without
    /// <see cref="CacheKeyProperty"/> writes it.
    /// </summary>
    public const string CacheGuardProperty = "stella.cache_guard";

    /// <summary>Looks at the model and its fingerprint, of which two agree if no load came between.</summary>
    private const int MaxLooks = 10;

    private readonly StellaEmbeddingPool pool;
    private readonly StellaEmbedOptions defaults;
    private readonly StellaCallOptions callOptions;
    private readonly TimeProvider time;
    private readonly bool ownsPool;
    private readonly EmbeddingGeneratorMetadata metadata;

    /// <summary>Initializes a generator over a pool.</summary>
    /// <param name="pool">The pool. Any number of generators may share one.</param>
    /// <param name="options">The options of the texts; <see langword="null"/> for the defaults, with the default prompt of the model.</param>
    /// <param name="callOptions">The options of the calls; <see langword="null"/> for the defaults.</param>
    /// <param name="timeProvider">The clock that dates embeddings; <see langword="null"/> for the system's.</param>
    /// <param name="ownsPool">Whether <see cref="Dispose"/> disposes the pool.</param>
    /// <exception cref="ArgumentNullException"><paramref name="pool"/> is null.</exception>
    /// <exception cref="ArgumentException">
    /// <see cref="StellaCallOptions.TextFailureMode"/> is <see cref="StellaTextFailureMode.Report"/>, for which an embedding has no place.
    /// </exception>
    public StellaEmbeddingGenerator(
        StellaEmbeddingPool pool,
        StellaEmbedOptions? options = null,
        StellaCallOptions? callOptions = null,
        TimeProvider? timeProvider = null,
        bool ownsPool = false)
    {
        ArgumentNullException.ThrowIfNull(pool);
        if (callOptions?.TextFailureMode == StellaTextFailureMode.Report)
        {
            throw new ArgumentException(
                $"{nameof(StellaCallOptions.TextFailureMode)} is {StellaTextFailureMode.Report}, and a generator has no place to report the text to: its vector would be zero. "
                + $"Use {StellaTextFailureMode.FailCall}, or call the pool.",
                nameof(callOptions));
        }

        this.pool = pool;
        defaults = options ?? new StellaEmbedOptions();
        this.callOptions = callOptions ?? new StellaCallOptions();
        this.ownsPool = ownsPool;
        time = timeProvider ?? TimeProvider.System;
        metadata = new EmbeddingGeneratorMetadata(
            ProviderName, providerUri: null, pool.ModelName, defaults.Dimension ?? pool.Info?.DefaultDimension);
    }

    /// <summary>
    /// Gets the prompt of the texts, such as <see cref="StellaPrompt.Document"/> or <see cref="StellaPrompt.SearchQuery"/>.
    /// </summary>
    public StellaPrompt Prompt => defaults.Prompt;

    /// <summary>Embeds texts.</summary>
    /// <param name="values">The texts, in any number.</param>
    /// <param name="options">Options that replace those of the generator for this call; <see langword="null"/> for none.</param>
    /// <param name="cancellationToken">A token that ends the call at once.</param>
    /// <returns>One embedding per text, in the order of the texts, with the number of tokens in <c>Usage</c>.</returns>
    /// <exception cref="ArgumentException">
    /// The options name another model, or their prompt is neither a <see cref="StellaPrompt"/> nor a name.
    /// </exception>
    /// <exception cref="InvalidOperationException">Middleware below a cache replaced the options with the key of the cache.</exception>
    /// <inheritdoc cref="StellaEmbeddingPool.EmbedAsync(ReadOnlyMemory{string}, Memory{float}, Memory{StellaTokenCount}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)" path="/exception"/>
    public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        GenerateAsync(values, options, EmbeddingForms.Float32, cancellationToken);

    /// <summary>
    /// Returns a builder for middleware around this generator, whose caches have keys with everything that decides a vector.
    /// </summary>
    /// <returns>The builder. Calls go through the middleware in the order in which it is added.</returns>
    public EmbeddingGeneratorBuilder<string, Embedding<float>> AsBuilder() =>
        new EmbeddingGeneratorBuilder<string, Embedding<float>>(this).UseStellaCacheKeys();

    /// <summary>Returns a generator of 16-bit floats over the same pool.</summary>
    public IEmbeddingGenerator<string, Embedding<Half>> AsHalf() => new StellaFormGenerator<Embedding<Half>>(this, EmbeddingForms.Float16);

    /// <summary>Returns a generator of 8-bit integers over the same pool; each embedding has its scale under <see cref="ScaleProperty"/>.</summary>
    public IEmbeddingGenerator<string, Embedding<sbyte>> AsInt8() => new StellaFormGenerator<Embedding<sbyte>>(this, EmbeddingForms.Int8);

    /// <summary>Returns a generator of bits over the same pool: 1 for a number above zero.</summary>
    public IEmbeddingGenerator<string, BinaryEmbedding> AsBinary() => new StellaFormGenerator<BinaryEmbedding>(this, EmbeddingForms.Binary);

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(EmbeddingGeneratorMetadata) ? Metadata()
            : serviceType.IsInstanceOfType(this) ? this
            : serviceType == typeof(IEmbeddingGenerator<string, Embedding<Half>>) ? AsHalf()
            : serviceType == typeof(IEmbeddingGenerator<string, Embedding<sbyte>>) ? AsInt8()
            : serviceType == typeof(IEmbeddingGenerator<string, BinaryEmbedding>) ? AsBinary()
            : serviceType.IsInstanceOfType(pool) ? pool
            : null;
    }

    /// <summary>Disposes the pool if the generator owns it. A generator that does not own its pool keeps working.</summary>
    public void Dispose()
    {
        if (ownsPool)
        {
            pool.Dispose();
        }
    }

    StellaEmbeddingGenerator IStellaSource<Embedding<float>>.Generator => this;

    EmbeddingForm<Embedding<float>> IStellaSource<Embedding<float>>.Form => EmbeddingForms.Float32;

    internal Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync<TEmbedding>(
        IEnumerable<string> values,
        EmbeddingGenerationOptions? options,
        EmbeddingForm<TEmbedding> form,
        CancellationToken cancellationToken)
        where TEmbedding : Embedding
    {
        ArgumentNullException.ThrowIfNull(values);
        StellaEmbedOptions textOptions = OptionsOf(options);
        CachedCall? cached = CachedCallOf(options);
        Task<StellaEmbeddings> embeddings = pool.EmbedAsync(
            values as IReadOnlyList<string> ?? [.. values], textOptions, callOptions, cancellationToken);
        return GenerateAsync(embeddings, textOptions, cached, form, cancellationToken);
    }

    private async Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync<TEmbedding>(
        Task<StellaEmbeddings> call,
        StellaEmbedOptions textOptions,
        CachedCall? cached,
        EmbeddingForm<TEmbedding> form,
        CancellationToken cancellationToken)
        where TEmbedding : Embedding
    {
        StellaEmbeddings found = await call.ConfigureAwait(false);
        if (cached is not null
            && CachedCall.KeyOf(await IdentityAsync(textOptions, cancellationToken).ConfigureAwait(false), textOptions, form.Name) != cached.Key)
        {
            throw new CacheKeyMismatchException(cached, textOptions);
        }

        DateTimeOffset now = time.GetUtcNow();
        var embeddings = new GeneratedEmbeddings<TEmbedding>(found.Count);
        for (int i = 0; i < found.Count; i++)
        {
            TEmbedding embedding = form.Convert(found[i]);
            embedding.CreatedAt = now;
            embedding.ModelId = pool.ModelName;
            (embedding.AdditionalProperties ??= []).SetTokenCount(found.TokenCounts[i]);
            if (cached is null)
            {
                CacheWriteGuard.Attach(embedding);
            }

            embeddings.Add(embedding);
        }

        Describe(embeddings, found.Summary.TokenCount, found.Summary.TruncatedTextCount);
        return embeddings;
    }

    /// <summary>Says what a call came to.</summary>
    internal static void Describe<TEmbedding>(GeneratedEmbeddings<TEmbedding> embeddings, long tokens, int truncatedTexts)
        where TEmbedding : Embedding
    {
        embeddings.Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens };
        if (truncatedTexts > 0)
        {
            (embeddings.AdditionalProperties ??= [])[TruncatedTextCountProperty] = truncatedTexts;
        }
    }

    /// <summary>The model that computes, for vectors of the options' dimension.</summary>
    internal async Task<ModelIdentity> IdentityAsync(StellaEmbedOptions options, CancellationToken cancellationToken)
    {
        for (int attempt = 0; attempt < MaxLooks; attempt++)
        {
            StellaModelInfo? before = pool.Info;
            string fingerprint = await pool.GetFingerprintAsync(options.Dimension, cancellationToken).ConfigureAwait(false);
            // Every load makes properties of its own: if they are the same before and after, no load came between.
            if (pool.Info is { } info && ReferenceEquals(info, before))
            {
                return new ModelIdentity(fingerprint, info);
            }
        }

        throw new InvalidOperationException(
            $"The model of {pool.ModelName} was unloaded and loaded again {MaxLooks} times while its fingerprint was read. "
            + "Give its memory budget room for all models that are in use.");
    }

    /// <summary>The options of the generator, changed as the call asks.</summary>
    internal StellaEmbedOptions OptionsOf(EmbeddingGenerationOptions? options)
    {
        if (options is null)
        {
            return defaults;
        }

        if (options.ModelId is { } model && model != pool.ModelName)
        {
            throw new ArgumentException(
                $"The options ask for the model '{model}'; this generator has '{pool.ModelName}'.", nameof(options));
        }

        StellaEmbedOptions result = options.RawRepresentationFactory?.Invoke(this) switch
        {
            CachedCall cached => cached.Wanted,
            StellaEmbedOptions raw => raw,
            _ => defaults,
        };
        if (options.AdditionalProperties?.TryGetValue(PromptProperty, out object? prompt) == true)
        {
            result = result with
            {
                Prompt = prompt switch
                {
                    StellaPrompt kind => kind,
                    string name => StellaPrompt.FromName(name),
                    _ => throw new ArgumentException(
                        $"'{PromptProperty}' is '{prompt}'; it must be a {nameof(StellaPrompt)} or the name of one.",
                        nameof(options)),
                },
            };
        }

        result = options.Dimensions is { } dimension ? result with { Dimension = dimension } : result;
        return result.Dimension is <= 0
            ? throw new ArgumentOutOfRangeException(nameof(options), result.Dimension, $"{nameof(result.Dimension)} must be above zero.")
            : result;
    }

    /// <summary>The cached call that the options belong to; <see langword="null"/> outside of a chain with a cache.</summary>
    /// <exception cref="InvalidOperationException">Middleware took the key away.</exception>
    private CachedCall? CachedCallOf(EmbeddingGenerationOptions? options)
    {
        var cached = options?.RawRepresentationFactory?.Invoke(this) as CachedCall;
        bool hasKey = options?.AdditionalProperties?.GetValueOrDefault(CacheKeyProperty) is string key
            && (cached is null || key.StartsWith(cached.Key, StringComparison.Ordinal));
        if (cached is not null != hasKey)
        {
            throw new InvalidOperationException(
                $"Middleware replaced {(hasKey ? nameof(options.RawRepresentationFactory) : nameof(options.AdditionalProperties))} of the options below a cache, "
                + "so that the cache could not know what decides the vectors. Set these options on the generator or on the call, and let middleware add to what is there.");
        }

        return cached;
    }

    /// <summary>With the dimension, once the model told it.</summary>
    private EmbeddingGeneratorMetadata Metadata() =>
        metadata.DefaultModelDimensions is null && pool.Info?.DefaultDimension is { } dimension
            ? new EmbeddingGeneratorMetadata(ProviderName, providerUri: null, pool.ModelName, dimension)
            : metadata;
}
