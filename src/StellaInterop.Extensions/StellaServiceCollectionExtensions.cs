using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using StellaInterop;
using StellaInterop.Extensions;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Provides extension methods that register Stella models.</summary>
/// <remarks>
/// <para>
/// Each model is registered once, with or without a key. It has a singleton <see cref="StellaEmbeddingPool"/> and a singleton
/// <c>IEmbeddingGenerator&lt;string, Embedding&lt;float&gt;&gt;</c> for documents, both with the key of the model. A generator for
/// queries is registered separately, with a key of <see cref="StellaServiceKeys"/>. All models share one memory budget. The
/// container disposes the services. An asynchronous disposal waits for accepted calls.
/// </para>
/// <para>
/// The options of a model are <see cref="StellaEmbeddingServiceOptions"/> with the name
/// <see cref="StellaServiceKeys.GetOptionsName"/>, which <c>Configure</c> and <c>PostConfigure</c> can change. The host validates
/// the options of all models when it starts.
/// </para>
/// <para>
/// Calls of a generator throw the exceptions of
/// <see cref="StellaEmbeddingPool.EmbedAsync(IReadOnlyList{string}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)"/>:
/// <see cref="StellaOverloadedException"/> if the queue is full, <see cref="StellaTimeoutException"/>,
/// <see cref="StellaCircuitOpenException"/> while the model fails, and <see cref="StellaInputException"/> for an invalid text. A
/// blank text is valid. Its embedding is that of the special tokens.
/// </para>
/// </remarks>
public static class StellaServiceCollectionExtensions
{
    /// <summary>
    /// Registers a model and its generator for documents. The options are those of the configuration section
    /// <see cref="StellaEmbeddingServiceOptions.DefaultSectionName"/>.
    /// </summary>
    /// <param name="services">The services.</param>
    /// <returns>A builder of the generator, for middleware.</returns>
    /// <exception cref="InvalidOperationException">A model without a key is already registered.</exception>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddStellaEmbeddings(this IServiceCollection services)
    {
        StellaServices.Register(services, null, StellaEmbeddingServiceOptions.DefaultSectionName)
            .BindConfiguration(StellaEmbeddingServiceOptions.DefaultSectionName);
        return StellaServices.AddGenerator(services, null, null, StellaPrompt.Document);
    }

    /// <summary>Registers a model and its generator for documents.</summary>
    /// <param name="services">The services.</param>
    /// <param name="configure">Sets the options of the model.</param>
    /// <returns>A builder of the generator, for middleware.</returns>
    /// <exception cref="InvalidOperationException">A model without a key is already registered.</exception>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddStellaEmbeddings(
        this IServiceCollection services, Action<StellaEmbeddingServiceOptions> configure) =>
        AddKeyedStellaEmbeddings(services, null, configure);

    /// <summary>Registers a model and its generator for documents.</summary>
    /// <param name="services">The services.</param>
    /// <param name="section">The section with the options of the model.</param>
    /// <returns>A builder of the generator, for middleware.</returns>
    /// <exception cref="InvalidOperationException">A model without a key is already registered.</exception>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddStellaEmbeddings(
        this IServiceCollection services, IConfigurationSection section) =>
        AddKeyedStellaEmbeddings(services, null, section);

    /// <summary>Registers a model with a key, and its generator for documents with the same key.</summary>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">
    /// The key: a string, an enum value, or another object; <see langword="null"/> for no key. The text of the key must be unique
    /// and must not start with <see cref="StellaServiceKeys.Query"/>.
    /// </param>
    /// <param name="configure">Sets the options of the model.</param>
    /// <returns>A builder of the generator, for middleware.</returns>
    /// <exception cref="ArgumentException">
    /// The text of the key is blank or starts with <see cref="StellaServiceKeys.Query"/>.
    /// </exception>
    /// <exception cref="InvalidOperationException">A model or a generator with the key is already registered.</exception>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedStellaEmbeddings(
        this IServiceCollection services, object? serviceKey, Action<StellaEmbeddingServiceOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(configure);
        StellaServices.Register(services, serviceKey).Configure(configure);
        return StellaServices.AddGenerator(services, serviceKey, serviceKey, StellaPrompt.Document);
    }

    /// <summary>Registers a model with a key, and its generator for documents with the same key.</summary>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">
    /// The key: a string, an enum value, or another object; <see langword="null"/> for no key. The text of the key must be unique
    /// and must not start with <see cref="StellaServiceKeys.Query"/>.
    /// </param>
    /// <param name="section">The section with the options of the model.</param>
    /// <returns>A builder of the generator, for middleware.</returns>
    /// <exception cref="ArgumentException">
    /// The text of the key is blank or starts with <see cref="StellaServiceKeys.Query"/>.
    /// </exception>
    /// <exception cref="InvalidOperationException">A model or a generator with the key is already registered.</exception>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedStellaEmbeddings(
        this IServiceCollection services, object? serviceKey, IConfigurationSection section)
    {
        ArgumentNullException.ThrowIfNull(section);
        StellaServices.Register(services, serviceKey, section.Path).Bind(section);
        return StellaServices.AddGenerator(services, serviceKey, serviceKey, StellaPrompt.Document);
    }

    /// <summary>
    /// Registers a generator for queries of the model without a key. Its key is <see cref="StellaServiceKeys.Query"/>.
    /// </summary>
    /// <param name="services">The services.</param>
    /// <param name="prompt">
    /// The prompt of the queries, or <see langword="null"/> for <see cref="StellaPrompt.SearchQuery"/>. A model without the heads
    /// of Stella has only the prompts of its folder.
    /// </param>
    /// <returns>A builder of the generator, for middleware.</returns>
    /// <exception cref="InvalidOperationException">The key is already registered.</exception>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddStellaQueryEmbeddings(
        this IServiceCollection services, StellaPrompt? prompt = null) =>
        AddKeyedStellaQueryEmbeddings(services, null, prompt);

    /// <summary>
    /// Registers a generator for queries of a model with a key. Its own key is <see cref="StellaServiceKeys.GetQueryKey"/>.
    /// </summary>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">The key of the model, or <see langword="null"/> for the model without a key.</param>
    /// <param name="prompt">
    /// The prompt of the queries, or <see langword="null"/> for <see cref="StellaPrompt.SearchQuery"/>. A model without the heads
    /// of Stella has only the prompts of its folder.
    /// </param>
    /// <returns>A builder of the generator, for middleware.</returns>
    /// <exception cref="ArgumentException">
    /// The text of the key is blank or starts with <see cref="StellaServiceKeys.Query"/>.
    /// </exception>
    /// <exception cref="InvalidOperationException">The key of the generator is already registered.</exception>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedStellaQueryEmbeddings(
        this IServiceCollection services, object? serviceKey, StellaPrompt? prompt = null) => StellaServices.AddGenerator(
            services, serviceKey, StellaServiceKeys.GetQueryKey(serviceKey), prompt ?? StellaPrompt.SearchQuery);
}
