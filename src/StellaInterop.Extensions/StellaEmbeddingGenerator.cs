using Microsoft.Extensions.AI;
using StellaInterop.Extensions;

namespace StellaInterop;

/// <summary>Represents an embedding generator of Microsoft.Extensions.AI that uses a <see cref="StellaEmbeddingPool"/>.</summary>
/// <remarks>
/// <para>
/// Stella was trained with a prompt before queries and without a prompt before documents. A generator has one
/// <see cref="Prompt"/>, so queries and documents need separate generators. The class is thread-safe.
/// </para>
/// <para>
/// <see cref="AsHalf"/>, <see cref="AsInt8"/> and <see cref="AsBinary"/> return generators with smaller number formats. Disposing
/// these generators has no effect.
/// </para>
/// <para>
/// The generator uses these options of <see cref="EmbeddingGenerationOptions"/>: <c>Dimensions</c>; <c>ModelId</c>, which must be
/// the name of its model; <c>RawRepresentationFactory</c>, which may return <see cref="StellaEmbedOptions"/> that replace those of
/// the generator; and <see cref="PromptProperty"/> in <c>AdditionalProperties</c>.
/// </para>
/// <para>
/// The key of a cache of Microsoft.Extensions.AI must include all settings that determine a vector. The builders of
/// <see cref="AsBuilder"/> and <c>AddStellaEmbeddings</c> ensure this for caches that are added to them. Any other cache around the
/// generator fails when it writes its first result.
/// </para>
/// </remarks>
public sealed class StellaEmbeddingGenerator : IEmbeddingGenerator<string, Embedding<float>>, IStellaSource<Embedding<float>>
{
    /// <summary>The name of the provider in metadata and telemetry.</summary>
    public const string ProviderName = "stella";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of options for a <see cref="StellaPrompt"/>, or the name of a prompt, that replaces
    /// the prompt of the generator.
    /// </summary>
    public const string PromptProperty = "stella.prompt";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of an int8 embedding for its scale, a non-negative <see cref="float"/>.
    /// <see cref="StellaEmbeddingExtensions.GetScale"/> reads it.
    /// </summary>
    public const string ScaleProperty = "stella.scale";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of an embedding for the number of tokens after truncation, an <see cref="int"/>.
    /// <see cref="StellaEmbeddingExtensions.GetTokenCount"/> reads it.
    /// </summary>
    public const string TokenCountProperty = "stella.token_count";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of an embedding for the number of tokens of the text before truncation, an
    /// <see cref="int"/>.
    /// </summary>
    public const string TotalTokenCountProperty = "stella.total_token_count";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of the embedding of a truncated text for the limit that was exceeded, <c>tokens</c>
    /// or <c>bytes</c>; see <see cref="StellaTruncation"/>. The property is absent if the text was not truncated.
    /// </summary>
    public const string TruncationProperty = "stella.truncation";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of an embedding for the number of unpaired surrogates that were replaced by U+FFFD,
    /// an <see cref="int"/>. The property is absent if no surrogate was replaced.
    /// </summary>
    public const string ReplacedProperty = "stella.replaced";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of <see cref="GeneratedEmbeddings{TEmbedding}"/> for the number of truncated texts
    /// of the call, an <see cref="int"/>. The property is absent if no text was truncated.
    /// </summary>
    public const string TruncatedTextCountProperty = "stella.truncated_text_count";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of options, inside a chain with a cache, for a string that becomes part of the key
    /// of the cache. The string contains all settings that determine a vector, except for the text. Its format may change.
    /// </summary>
    public const string CacheKeyProperty = "stella.cache_key";

    /// <summary>
    /// The key in <c>AdditionalProperties</c> of an embedding for an empty list that throws when a cache without
    /// <see cref="CacheKeyProperty"/> writes it.
    /// </summary>
    public const string CacheGuardProperty = "stella.cache_guard";

    /// <summary>The maximum number of attempts to read the fingerprint of a model without a reload in between.</summary>
    private const int MaxIdentityAttempts = 10;

    private readonly StellaEmbeddingPool pool;
    private readonly StellaEmbedOptions defaults;
    private readonly StellaCallOptions callOptions;
    private readonly TimeProvider time;
    private readonly bool ownsPool;
    private readonly EmbeddingGeneratorMetadata metadata;

    /// <summary>Initializes a generator over a pool.</summary>
    /// <param name="pool">The pool. Several generators can share a pool.</param>
    /// <param name="options">
    /// The options of the texts, or <see langword="null"/> for the default options with the default prompt of the model.
    /// </param>
    /// <param name="callOptions">The options of the calls, or <see langword="null"/> for the default options.</param>
    /// <param name="timeProvider">
    /// The clock for the creation times of embeddings, or <see langword="null"/> for <see cref="TimeProvider.System"/>.
    /// </param>
    /// <param name="ownsPool">Whether <see cref="Dispose"/> disposes the pool.</param>
    /// <exception cref="ArgumentNullException"><paramref name="pool"/> is <see langword="null"/>.</exception>
    /// <exception cref="ArgumentException">
    /// <see cref="StellaCallOptions.TextFailureMode"/> is <see cref="StellaTextFailureMode.Report"/>, which a generator does not
    /// support.
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
                $"{nameof(StellaCallOptions.TextFailureMode)} is {StellaTextFailureMode.Report}, but a generator cannot report failed texts. "
                + $"Use {StellaTextFailureMode.FailCall}, or call the pool.",
                nameof(callOptions));
        }

        this.pool = pool;
        defaults = CheckVectors(options ?? new StellaEmbedOptions(), nameof(options));
        this.callOptions = callOptions ?? new StellaCallOptions();
        this.ownsPool = ownsPool;
        time = timeProvider ?? TimeProvider.System;
        metadata = new EmbeddingGeneratorMetadata(
            ProviderName, providerUri: null, pool.ModelName, defaults.Dimension ?? pool.Info?.DefaultDimension);
    }

    /// <summary>
    /// Gets the prompt of the generator, such as <see cref="StellaPrompt.Document"/> or <see cref="StellaPrompt.SearchQuery"/>.
    /// </summary>
    public StellaPrompt Prompt => defaults.Prompt;

    /// <summary>Generates embeddings for texts.</summary>
    /// <param name="values">The texts. The sequence may be empty.</param>
    /// <param name="options">The options of this call, which replace those of the generator; can be <see langword="null"/>.</param>
    /// <param name="cancellationToken">A token that cancels the call.</param>
    /// <returns>One embedding per text, in the order of the texts. <c>Usage</c> has the number of tokens.</returns>
    /// <exception cref="ArgumentException">
    /// The options name another model, or their prompt is neither a <see cref="StellaPrompt"/> nor a valid name.
    /// </exception>
    /// <exception cref="InvalidOperationException">
    /// Middleware below a cache removed the key of the cache from the options.
    /// </exception>
    /// <inheritdoc cref="StellaEmbeddingPool.EmbedAsync(ReadOnlyMemory{string}, Memory{float}, Memory{StellaTokenCount}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)" path="/exception"/>
    public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        GenerateAsync(values, options, EmbeddingFormats.Float32, cancellationToken);

    /// <summary>
    /// Returns a builder for middleware around this generator. The keys of its caches include all settings that determine a vector.
    /// </summary>
    /// <returns>The builder. Calls pass through the middleware in the order in which it is added.</returns>
    public EmbeddingGeneratorBuilder<string, Embedding<float>> AsBuilder() =>
        new EmbeddingGeneratorBuilder<string, Embedding<float>>(this).UseStellaCacheKeys();

    /// <summary>Returns a generator of 16-bit floating-point embeddings that uses the same pool.</summary>
    public IEmbeddingGenerator<string, Embedding<Half>> AsHalf() => new StellaFormatGenerator<Embedding<Half>>(this, EmbeddingFormats.Float16);

    /// <summary>
    /// Returns a generator of 8-bit integer embeddings that uses the same pool. Each embedding has its scale in
    /// <see cref="ScaleProperty"/>.
    /// </summary>
    public IEmbeddingGenerator<string, Embedding<sbyte>> AsInt8() => new StellaFormatGenerator<Embedding<sbyte>>(this, EmbeddingFormats.Int8);

    /// <summary>
    /// Returns a generator of binary embeddings that uses the same pool. A bit is 1 if the component is above zero.
    /// </summary>
    public IEmbeddingGenerator<string, BinaryEmbedding> AsBinary() => new StellaFormatGenerator<BinaryEmbedding>(this, EmbeddingFormats.Binary);

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(EmbeddingGeneratorMetadata) ? GetMetadata()
            : serviceType.IsInstanceOfType(this) ? this
            : serviceType == typeof(IEmbeddingGenerator<string, Embedding<Half>>) ? AsHalf()
            : serviceType == typeof(IEmbeddingGenerator<string, Embedding<sbyte>>) ? AsInt8()
            : serviceType == typeof(IEmbeddingGenerator<string, BinaryEmbedding>) ? AsBinary()
            : serviceType.IsInstanceOfType(pool) ? pool
            : null;
    }

    /// <summary>Disposes the pool if the generator owns it. Otherwise the method has no effect.</summary>
    public void Dispose()
    {
        if (ownsPool)
        {
            pool.Dispose();
        }
    }

    StellaEmbeddingGenerator IStellaSource<Embedding<float>>.Generator => this;

    EmbeddingFormat<Embedding<float>> IStellaSource<Embedding<float>>.Format => EmbeddingFormats.Float32;

    internal Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync<TEmbedding>(
        IEnumerable<string> values,
        EmbeddingGenerationOptions? options,
        EmbeddingFormat<TEmbedding> format,
        CancellationToken cancellationToken)
        where TEmbedding : Embedding
    {
        ArgumentNullException.ThrowIfNull(values);
        StellaEmbedOptions textOptions = ResolveOptions(options);
        CachedCall? cached = GetCachedCall(options);
        Task<StellaEmbeddings> embeddings = pool.EmbedAsync(
            values as IReadOnlyList<string> ?? [.. values], textOptions, callOptions, cancellationToken);
        return GenerateAsync(embeddings, textOptions, cached, format, cancellationToken);
    }

    private async Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync<TEmbedding>(
        Task<StellaEmbeddings> call,
        StellaEmbedOptions textOptions,
        CachedCall? cached,
        EmbeddingFormat<TEmbedding> format,
        CancellationToken cancellationToken)
        where TEmbedding : Embedding
    {
        StellaEmbeddings found = await call.ConfigureAwait(false);
        if (cached is not null
            && CachedCall.CreateKey(await GetIdentityAsync(textOptions, cancellationToken).ConfigureAwait(false), textOptions, format.Name) != cached.Key)
        {
            throw new CacheKeyMismatchException(cached, textOptions);
        }

        DateTimeOffset now = time.GetUtcNow();
        var embeddings = new GeneratedEmbeddings<TEmbedding>(found.Count);
        for (int i = 0; i < found.Count; i++)
        {
            TEmbedding embedding = format.Convert(found[i]);
            embedding.CreatedAt = now;
            embedding.ModelId = pool.ModelName;
            (embedding.AdditionalProperties ??= []).SetTokenCount(found.TokenCounts[i]);
            if (cached is null)
            {
                CacheWriteGuard.Attach(embedding);
            }

            embeddings.Add(embedding);
        }

        SetUsage(embeddings, found.Summary.TokenCount, found.Summary.TruncatedTextCount);
        return embeddings;
    }

    /// <summary>Sets the usage and the number of truncated texts of a call.</summary>
    internal static void SetUsage<TEmbedding>(GeneratedEmbeddings<TEmbedding> embeddings, long tokens, int truncatedTexts)
        where TEmbedding : Embedding
    {
        embeddings.Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens };
        if (truncatedTexts > 0)
        {
            (embeddings.AdditionalProperties ??= [])[TruncatedTextCountProperty] = truncatedTexts;
        }
    }

    /// <summary>Returns the identity of the loaded model for the dimension of the options.</summary>
    internal async Task<ModelIdentity> GetIdentityAsync(StellaEmbedOptions options, CancellationToken cancellationToken)
    {
        for (int attempt = 0; attempt < MaxIdentityAttempts; attempt++)
        {
            StellaModelInfo? before = pool.Info;
            string fingerprint = await pool.GetFingerprintAsync(options.Dimension, cancellationToken).ConfigureAwait(false);
            // Each load creates a new info object. The same object before and after means that the model was not reloaded in
            // between.
            if (pool.Info is { } info && ReferenceEquals(info, before))
            {
                return new ModelIdentity(fingerprint, info);
            }
        }

        throw new InvalidOperationException(
            $"The model {pool.ModelName} was reloaded {MaxIdentityAttempts} times while its fingerprint was read. "
            + "Increase the memory budget, so that all models in use fit.");
    }

    /// <summary>Returns the options of the generator with the changes by the options of the call.</summary>
    internal StellaEmbedOptions ResolveOptions(EmbeddingGenerationOptions? options)
    {
        if (options is null)
        {
            return defaults;
        }

        if (options.ModelId is { } model && model != pool.ModelName)
        {
            throw new ArgumentException(
                $"The options name the model '{model}', but this generator has '{pool.ModelName}'.", nameof(options));
        }

        StellaEmbedOptions result = options.RawRepresentationFactory?.Invoke(this) switch
        {
            CachedCall cached => cached.Options,
            StellaEmbedOptions raw => raw,
            _ => defaults,
        };
        if (options.AdditionalProperties?.TryGetValue(PromptProperty, out object? prompt) == true)
        {
            result = result with
            {
                Prompt = prompt switch
                {
                    StellaPrompt value => value,
                    string name => StellaPrompt.FromName(name),
                    _ => throw new ArgumentException(
                        $"'{PromptProperty}' is '{prompt}'; it must be a {nameof(StellaPrompt)} or the name of one.",
                        nameof(options)),
                },
            };
        }

        result = options.Dimensions is { } dimension ? result with { Dimension = dimension } : result;
        return CheckVectors(result, nameof(options)).Dimension is <= 0
            ? throw new ArgumentOutOfRangeException(nameof(options), result.Dimension, $"{nameof(result.Dimension)} must be above zero.")
            : result;
    }

    /// <summary>Returns options that ask for one vector for a text.</summary>
    private static StellaEmbedOptions CheckVectors(StellaEmbedOptions options, string parameter) => options.Dimensions is null
        ? options
        : throw new ArgumentException(
            $"{nameof(StellaEmbedOptions.Dimensions)} is set, but an embedding of a generator is one vector. "
            + $"Set {nameof(StellaEmbedOptions.Dimension)}, or call the pool.",
            parameter);

    /// <summary>Returns the call with the cache key; <see langword="null"/> outside of a chain with a cache.</summary>
    /// <exception cref="InvalidOperationException">Middleware removed the key.</exception>
    private CachedCall? GetCachedCall(EmbeddingGenerationOptions? options)
    {
        var cached = options?.RawRepresentationFactory?.Invoke(this) as CachedCall;
        bool hasKey = options?.AdditionalProperties?.GetValueOrDefault(CacheKeyProperty) is string key
            && (cached is null || key.StartsWith(cached.Key, StringComparison.Ordinal));
        if (cached is not null != hasKey)
        {
            throw new InvalidOperationException(
                $"Middleware replaced {(hasKey ? nameof(options.RawRepresentationFactory) : nameof(options.AdditionalProperties))} of the options below a cache, "
                + "so the key of the cache does not match the vectors. Set these options on the generator or on the call. Middleware may only add properties.");
        }

        return cached;
    }

    /// <summary>Returns the metadata, with the dimension of the model after the model was loaded.</summary>
    private EmbeddingGeneratorMetadata GetMetadata() =>
        metadata.DefaultModelDimensions is null && pool.Info?.DefaultDimension is { } dimension
            ? new EmbeddingGeneratorMetadata(ProviderName, providerUri: null, pool.ModelName, dimension)
            : metadata;
}
