using System.Collections;
using Microsoft.Extensions.AI;
using StellaInterop.Extensions;

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
/// </remarks>
public sealed class StellaEmbeddingGenerator : IEmbeddingGenerator<string, Embedding<float>>
{
    /// <summary>The provider's name in metadata and telemetry.</summary>
    public const string ProviderName = "stella";

    /// <summary>
    /// In <c>AdditionalProperties</c> of options: a <see cref="StellaPrompt"/>, or the name of one, that replaces the
    /// generator's.
    /// </summary>
    public const string PromptProperty = "stella.prompt";

    /// <summary>In <c>AdditionalProperties</c> of an embedding that is made of bytes: the factor to multiply them by.</summary>
    public const string ScaleProperty = "stella.scale";

    /// <summary>In <c>AdditionalProperties</c> of an embedding: the text's <see cref="StellaTokenCount"/>.</summary>
    public const string TokenCountProperty = "stella.token_count";

    /// <summary>In <c>AdditionalProperties</c> of all embeddings of a call: how many texts were cut. Absent when none was.</summary>
    public const string TruncatedProperty = "stella.truncated_texts";

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
    public StellaEmbeddingGenerator(
        StellaEmbeddingPool pool,
        StellaEmbedOptions? embedOptions = null,
        StellaCallOptions? callOptions = null,
        TimeProvider? timeProvider = null,
        bool ownsPool = false)
    {
        ArgumentNullException.ThrowIfNull(pool);
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
        GenerateAsync(values, options, static vector => new Embedding<float>(vector), cancellationToken);

    /// <summary>The same generator in 16-bit floating point.</summary>
    public IEmbeddingGenerator<string, Embedding<Half>> AsHalf() => new StellaFormGenerator<Embedding<Half>>(this, ToHalf);

    /// <summary>The same generator in bytes, each with its factor under <see cref="ScaleProperty"/>.</summary>
    public IEmbeddingGenerator<string, Embedding<sbyte>> AsInt8() => new StellaFormGenerator<Embedding<sbyte>>(this, ToBytes);

    /// <summary>The same generator in bits: whether a number is above zero.</summary>
    public IEmbeddingGenerator<string, BinaryEmbedding> AsBinary() => new StellaFormGenerator<BinaryEmbedding>(this, ToBits);

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

    private static Embedding<Half> ToHalf(ReadOnlyMemory<float> vector)
    {
        var half = new Half[vector.Length];
        Quantization.ToHalf(vector.Span, half);
        return new Embedding<Half>(half);
    }

    private static Embedding<sbyte> ToBytes(ReadOnlyMemory<float> vector)
    {
        var bytes = new sbyte[vector.Length];
        float scale = Quantization.ToInt8(vector.Span, bytes);
        return new Embedding<sbyte>(bytes) { AdditionalProperties = new() { [ScaleProperty] = scale } };
    }

    private static BinaryEmbedding ToBits(ReadOnlyMemory<float> vector)
    {
        ReadOnlySpan<float> numbers = vector.Span;
        var bits = new BitArray(numbers.Length);
        for (int i = 0; i < numbers.Length; i++)
        {
            bits[i] = numbers[i] > 0;
        }

        return new BinaryEmbedding(bits);
    }

    internal async Task<GeneratedEmbeddings<TEmbedding>> GenerateAsync<TEmbedding>(
        IEnumerable<string> values,
        EmbeddingGenerationOptions? options,
        Func<ReadOnlyMemory<float>, TEmbedding> convert,
        CancellationToken cancellationToken)
        where TEmbedding : Embedding
    {
        ArgumentNullException.ThrowIfNull(values);
        StellaEmbeddings found = await pool.EmbedAsync(
            values as IReadOnlyList<string> ?? [.. values], OptionsOf(options), callOptions, cancellationToken).ConfigureAwait(false);
        DateTimeOffset now = time.GetUtcNow();
        var embeddings = new GeneratedEmbeddings<TEmbedding>(found.Count)
        {
            Usage = new UsageDetails
            {
                InputTokenCount = found.Summary.Tokens,
                TotalTokenCount = found.Summary.Tokens,
            },
        };
        if (found.Summary.TruncatedTexts > 0)
        {
            embeddings.AdditionalProperties = new() { [TruncatedProperty] = found.Summary.TruncatedTexts };
        }

        for (int i = 0; i < found.Count; i++)
        {
            TEmbedding embedding = convert(found[i]);
            embedding.CreatedAt = now;
            embedding.ModelId = pool.ModelName;
            (embedding.AdditionalProperties ??= [])[TokenCountProperty] = found.TokenCounts[i];
            embeddings.Add(embedding);
        }

        return embeddings;
    }

    private StellaEmbedOptions OptionsOf(EmbeddingGenerationOptions? options)
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

        StellaEmbedOptions result = options.RawRepresentationFactory?.Invoke(this) as StellaEmbedOptions ?? embedOptions;
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

    /// <summary>With the dimension, once the model told it.</summary>
    private EmbeddingGeneratorMetadata Metadata() =>
        metadata.DefaultModelDimensions is null && pool.DefaultDimension is { } dimension
            ? new EmbeddingGeneratorMetadata(ProviderName, providerUri: null, pool.ModelName, dimension)
            : metadata;
}
