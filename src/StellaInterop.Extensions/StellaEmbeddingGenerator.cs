using Microsoft.Extensions.AI;
using StellaInterop.Extensions;
using StellaInterop.Pooling;

namespace StellaInterop;

/// <summary>A pool as the platform's embedding generator, for one kind of text: documents, or queries.</summary>
/// <remarks>
/// <para>
/// Thread-safe. Stella was trained with a prompt before queries and none before documents, so a generator has one
/// <see cref="Prompt"/>, and queries and documents have a generator each: nobody embeds documents as queries by accident.
/// </para>
/// <para>
/// <see cref="AsHalf"/>, <see cref="AsInt8"/> and <see cref="AsBinary"/> give generators of smaller forms.
/// </para>
/// <para>
/// Of <see cref="EmbeddingGenerationOptions"/> it honours <c>Dimensions</c>; <c>ModelId</c>, which must be its own;
/// <c>RawRepresentationFactory</c>, which may give <see cref="StellaEmbedOptions"/> for everything else; and
/// <see cref="PromptProperty"/> in <c>AdditionalProperties</c>.
/// </para>
/// <para>
/// A cache of Microsoft.Extensions.AI must know what decides a vector beside the text. Chain it with <see cref="AsBuilder"/> or
/// <c>AddStellaEmbeddings</c>, which see to that. A cache that is put around the generator in another way is refused when it writes its
/// first answer.
/// </para>
/// </remarks>
public sealed class StellaEmbeddingGenerator : IEmbeddingGenerator<string, Embedding<float>>, IStellaSource<Embedding<float>>
{
    /// <summary>The provider's name in metadata and telemetry.</summary>
    public const string ProviderName = "stella";

    /// <summary>
    /// In <c>AdditionalProperties</c> of options: a <see cref="StellaPrompt"/>, or the name of one, that replaces the
    /// generator's.
    /// </summary>
    public const string PromptProperty = "stella.prompt";

    /// <summary>
    /// In <c>AdditionalProperties</c> of an int8 embedding: the factor that turns its bytes back into numbers, a <see cref="float"/> above 0.
    /// <see cref="StellaEmbeddingExtensions.GetScale"/> reads it.
    /// </summary>
    public const string ScaleProperty = "stella.scale";

    /// <summary>
    /// In <c>AdditionalProperties</c> of an embedding: the tokens of the text that were used, an <see cref="int"/>.
    /// <see cref="StellaEmbeddingExtensions.GetTokenCount"/> reads this and the three below.
    /// </summary>
    public const string TokenCountProperty = "stella.token_count";

    /// <summary>In <c>AdditionalProperties</c> of an embedding: the tokens of the text before a cut, an <see cref="int"/>.</summary>
    public const string TotalTokenCountProperty = "stella.total_token_count";

    /// <summary>
    /// In <c>AdditionalProperties</c> of the embedding of a text that was cut: the limit that cut it, <c>tokens</c> or <c>bytes</c>, as in
    /// <see cref="StellaCut"/>. Absent when the text was not cut.
    /// </summary>
    public const string CutProperty = "stella.cut";

    /// <summary>
    /// In <c>AdditionalProperties</c> of an embedding: the surrogates without a partner that became U+FFFD, an <see cref="int"/>. Absent
    /// when there was none.
    /// </summary>
    public const string ReplacedProperty = "stella.replaced";

    /// <summary>In <c>AdditionalProperties</c> of all embeddings of a call: how many texts were cut. Absent when none was.</summary>
    public const string TruncatedProperty = "stella.truncated_texts";

    /// <summary>
    /// In <c>AdditionalProperties</c> of options inside of a chain with a cache: what decides a vector beside the text, as a line of text
    /// without a fixed form. It is part of the cache's key.
    /// </summary>
    public const string CacheKeyProperty = "stella.cache_key";

    /// <summary>
    /// In <c>AdditionalProperties</c> of an embedding: an empty list, which refuses to be written by a cache whose key does not know the
    /// model.
    /// </summary>
    public const string CacheGuardProperty = "stella.cache_guard";

    private readonly StellaEmbeddingPool pool;
    private readonly StellaEmbedOptions embedOptions;
    private readonly StellaCallOptions callOptions;
    private readonly TimeProvider time;
    private readonly bool ownsPool;
    private readonly EmbeddingGeneratorMetadata metadata;

    /// <summary>Makes a generator over a pool.</summary>
    /// <param name="pool">The pool. Any number of generators may share one.</param>
    /// <param name="embedOptions">How texts are embedded: the prompt above all. <see langword="null"/> for the model's default prompt, which in Stella is none.</param>
    /// <param name="callOptions">How calls are treated; <see langword="null"/> for the pool's defaults.</param>
    /// <param name="timeProvider">What tells when an embedding was made; <see langword="null"/> for the system's clock.</param>
    /// <param name="ownsPool">Whether the pool is disposed with the generator.</param>
    /// <exception cref="ArgumentException">The call options ask for reports of failed texts, for which an embedding has no place.</exception>
    public StellaEmbeddingGenerator(
        StellaEmbeddingPool pool,
        StellaEmbedOptions? embedOptions = null,
        StellaCallOptions? callOptions = null,
        TimeProvider? timeProvider = null,
        bool ownsPool = false)
    {
        ArgumentNullException.ThrowIfNull(pool);
        if (callOptions?.OnFailedText == StellaOnFailedText.Report)
        {
            throw new ArgumentException(
                $"{nameof(StellaCallOptions.OnFailedText)} is {StellaOnFailedText.Report}, and a generator has no place to report the text to: its vector would be zero. "
                + $"Use {StellaOnFailedText.FailCall}, or call the pool.",
                nameof(callOptions));
        }

        this.pool = pool;
        this.embedOptions = embedOptions ?? new StellaEmbedOptions();
        this.callOptions = callOptions ?? new StellaCallOptions();
        this.ownsPool = ownsPool;
        time = timeProvider ?? TimeProvider.System;
        metadata = new EmbeddingGeneratorMetadata(
            ProviderName, providerUri: null, pool.ModelName, this.embedOptions.Dimension ?? pool.DefaultDimension);
    }

    /// <summary>What the texts are: documents, or queries of a kind.</summary>
    public StellaPrompt Prompt => embedOptions.Prompt;

    /// <summary>Embeds texts.</summary>
    /// <param name="values">The texts; none gives none.</param>
    /// <param name="options">What is to be different for this call.</param>
    /// <param name="cancellationToken">Takes the call back.</param>
    /// <returns>An embedding for each text, in order, with the number of tokens in <c>Usage</c>.</returns>
    /// <exception cref="ArgumentException">The options ask for another model, or name a prompt that there is not.</exception>
    /// <inheritdoc cref="StellaEmbeddingPool.EmbedAsync(ReadOnlyMemory{string}, Memory{float}, Memory{StellaTokenCount}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)" path="/exception"/>
    public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        GenerateAsync(values, options, EmbeddingForms.Float32, cancellationToken);

    /// <summary>Starts a chain of middleware in front of this generator, in which a cache knows what decides a vector.</summary>
    /// <returns>A builder. Calls go through middleware in the order in which it is chained.</returns>
    public EmbeddingGeneratorBuilder<string, Embedding<float>> AsBuilder() =>
        new EmbeddingGeneratorBuilder<string, Embedding<float>>(this).UseStellaCacheKeys();

    /// <summary>The same generator in 16-bit floating point.</summary>
    public IEmbeddingGenerator<string, Embedding<Half>> AsHalf() => new StellaFormGenerator<Embedding<Half>>(this, EmbeddingForms.Float16);

    /// <summary>The same generator in bytes, each with its factor under <see cref="ScaleProperty"/>.</summary>
    public IEmbeddingGenerator<string, Embedding<sbyte>> AsInt8() => new StellaFormGenerator<Embedding<sbyte>>(this, EmbeddingForms.Int8);

    /// <summary>The same generator in bits: whether a number is above zero.</summary>
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

    /// <summary>Disposes the pool if the generator owns it. A generator that does not keeps working.</summary>
    public void Dispose()
    {
        if (ownsPool)
        {
            pool.Dispose();
        }
    }

    StellaEmbeddingGenerator IStellaSource<Embedding<float>>.Generator => this;

    EmbeddingForm<Embedding<float>> IStellaSource<Embedding<float>>.Form => EmbeddingForms.Float32;

    internal async Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync<TEmbedding>(
        IEnumerable<string> values,
        EmbeddingGenerationOptions? options,
        EmbeddingForm<TEmbedding> form,
        CancellationToken cancellationToken)
        where TEmbedding : Embedding
    {
        ArgumentNullException.ThrowIfNull(values);
        StellaEmbedOptions call = OptionsOf(options);
        CachedCall? cached = CachedCallOf(options);
        StellaEmbeddings found = await pool.EmbedAsync(
            values as IReadOnlyList<string> ?? [.. values], call, callOptions, cancellationToken).ConfigureAwait(false);
        if (cached is not null
            && CachedCall.KeyOf(await IdentityAsync(call, cancellationToken).ConfigureAwait(false), call, form.Name) != cached.Key)
        {
            throw new CacheKeyMismatchException(cached, call);
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

        Describe(embeddings, found.Summary.Tokens, found.Summary.TruncatedTexts);
        return embeddings;
    }

    /// <summary>Says what a call came to.</summary>
    internal static void Describe<TEmbedding>(GeneratedEmbeddings<TEmbedding> embeddings, long tokens, int truncatedTexts)
        where TEmbedding : Embedding
    {
        embeddings.Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens };
        if (truncatedTexts > 0)
        {
            (embeddings.AdditionalProperties ??= [])[TruncatedProperty] = truncatedTexts;
        }
    }

    /// <summary>The model that computes, for vectors of the options' dimension.</summary>
    internal Task<ModelIdentity> IdentityAsync(StellaEmbedOptions options, CancellationToken cancellationToken) =>
        pool.GetIdentityAsync(options.Dimension, cancellationToken);

    /// <summary>The options of the generator, changed as the call asks.</summary>
    internal StellaEmbedOptions OptionsOf(EmbeddingGenerationOptions? options)
    {
        if (options is null)
        {
            return embedOptions;
        }

        if (options.ModelId is { } model && model != pool.ModelName)
        {
            throw new ArgumentException(
                $"the options ask for the model '{model}'; this generator has '{pool.ModelName}'.", nameof(options));
        }

        StellaEmbedOptions result = options.RawRepresentationFactory?.Invoke(this) switch
        {
            CachedCall cached => cached.Wanted,
            StellaEmbedOptions raw => raw,
            _ => embedOptions,
        };
        if (options.AdditionalProperties?.TryGetValue(PromptProperty, out object? prompt) == true)
        {
            result = result with
            {
                Prompt = prompt switch
                {
                    StellaPrompt kind => kind,
                    string name => StellaPrompt.Named(name),
                    _ => throw new ArgumentException(
                        $"'{PromptProperty}' is '{prompt}'; it must be a {nameof(StellaPrompt)} or the name of one.",
                        nameof(options)),
                },
            };
        }

        return options.Dimensions is { } dimension ? result with { Dimension = dimension } : result;
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
        metadata.DefaultModelDimensions is null && pool.DefaultDimension is { } dimension
            ? new EmbeddingGeneratorMetadata(ProviderName, providerUri: null, pool.ModelName, dimension)
            : metadata;
}
