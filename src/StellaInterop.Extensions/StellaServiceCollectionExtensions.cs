using System.Diagnostics.Metrics;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using StellaInterop;
using StellaInterop.Extensions;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers Stella embeddings in a service.</summary>
/// <remarks>
/// A model is registered once, with or without a name, and has a pool, a generator of documents, and on request one of
/// queries. Its settings are the options <see cref="StellaEmbeddingsOptions"/> of its name, checked when the service starts.
/// All models share one memory budget. The container disposes everything, waiting for accepted calls if it is disposed
/// asynchronously.
/// </remarks>
public static class StellaServiceCollectionExtensions
{
    /// <summary>Registers a model, with its generator of documents.</summary>
    /// <param name="services">The services.</param>
    /// <param name="configure">Its settings.</param>
    /// <returns>A builder, to which middleware is chained.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddStellaEmbeddings(
        this IServiceCollection services, Action<StellaEmbeddingsOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(configure);
        Register(services, null).Configure(configure);
        return AddGenerator(services, null, null, StellaPrompt.Document);
    }

    /// <summary>Registers a model, with its generator of documents.</summary>
    /// <param name="services">The services.</param>
    /// <param name="section">The section with its settings.</param>
    /// <returns>A builder, to which middleware is chained.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddStellaEmbeddings(
        this IServiceCollection services, IConfigurationSection section)
    {
        ArgumentNullException.ThrowIfNull(section);
        Register(services, null, section.Path).Bind(section);
        return AddGenerator(services, null, null, StellaPrompt.Document);
    }

    /// <summary>Registers a model by a name, with its generator of documents under that name as the key.</summary>
    /// <param name="services">The services.</param>
    /// <param name="name">The name.</param>
    /// <param name="configure">Its settings.</param>
    /// <returns>A builder, to which middleware is chained.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedStellaEmbeddings(
        this IServiceCollection services, string name, Action<StellaEmbeddingsOptions> configure)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(configure);
        Register(services, name).Configure(configure);
        return AddGenerator(services, name, name, StellaPrompt.Document);
    }

    /// <summary>Registers a model by a name, with its generator of documents under that name as the key.</summary>
    /// <param name="services">The services.</param>
    /// <param name="name">The name.</param>
    /// <param name="section">The section with its settings.</param>
    /// <returns>A builder, to which middleware is chained.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedStellaEmbeddings(
        this IServiceCollection services, string name, IConfigurationSection section)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(section);
        Register(services, name, section.Path).Bind(section);
        return AddGenerator(services, name, name, StellaPrompt.Document);
    }

    /// <summary>Adds the generator of queries of the model without a name, under <see cref="StellaServiceKeys.Query"/>.</summary>
    /// <param name="services">The services.</param>
    /// <param name="prompt">What the queries are compared with.</param>
    /// <returns>A builder, to which middleware is chained.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddStellaQueryEmbeddings(
        this IServiceCollection services, StellaPrompt prompt = StellaPrompt.S2P) =>
        AddGenerator(services, null, StellaServiceKeys.Query, prompt);

    /// <summary>Adds the generator of queries of a named model, under <see cref="StellaServiceKeys.QueryOf"/>.</summary>
    /// <param name="services">The services.</param>
    /// <param name="name">The model's name.</param>
    /// <param name="prompt">What the queries are compared with.</param>
    /// <returns>A builder, to which middleware is chained.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedStellaQueryEmbeddings(
        this IServiceCollection services, string name, StellaPrompt prompt = StellaPrompt.S2P)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        return AddGenerator(services, name, StellaServiceKeys.QueryOf(name), prompt);
    }

    /// <summary>Adds the health of a model's pool to the health checks: <c>ready</c> and <c>live</c>, by tags of that name.</summary>
    /// <remarks>
    /// Ready is whether calls are answered; live is whether the pool is not closed. Neither embeds anything or waits.
    /// </remarks>
    /// <param name="builder">The health checks.</param>
    /// <param name="name">The model's name; <see langword="null"/> for the one without.</param>
    public static IHealthChecksBuilder AddStellaPool(this IHealthChecksBuilder builder, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        string prefix = name is null ? "stella" : $"stella:{name}";
        foreach (StellaHealthKind kind in Enum.GetValues<StellaHealthKind>())
        {
            string tag = kind == StellaHealthKind.Ready ? "ready" : "live";
            builder.Add(new Diagnostics.HealthChecks.HealthCheckRegistration(
                $"{prefix}:{tag}", provider => new StellaHealthCheck(PoolOf(provider, name), kind), failureStatus: null, [tag]));
        }

        return builder;
    }

    private static OptionsBuilder<StellaEmbeddingsOptions> Register(IServiceCollection services, string? name, string? section = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        services.TryAddSingleton(StellaMemoryGovernor.Shared);
        if (name is null)
        {
            services.TryAddSingleton(provider => NewPool(provider, null));
        }
        else
        {
            services.TryAddKeyedSingleton(name, (provider, _) => NewPool(provider, name));
        }

        services.AddSingleton<IHostedService>(provider =>
            new StellaWarmUp(() => PoolOf(provider, name), OptionsOf(provider, name)));
        services.AddSingleton<IValidateOptions<StellaEmbeddingsOptions>>(
            new StellaEmbeddingsValidation(name ?? Options.Options.DefaultName, section));
        return services.AddOptionsWithValidateOnStart<StellaEmbeddingsOptions>(name);
    }

    private static EmbeddingGeneratorBuilder<string, Embedding<float>> AddGenerator(
        IServiceCollection services, string? name, string? key, StellaPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(services);
        return key is null
            ? services.AddEmbeddingGenerator<string, Embedding<float>>(provider => NewGenerator(provider, name, prompt))
            : services.AddKeyedEmbeddingGenerator<string, Embedding<float>>(key, provider => NewGenerator(provider, name, prompt));
    }

    private static StellaEmbeddingGenerator NewGenerator(IServiceProvider provider, string? name, StellaPrompt prompt)
    {
        StellaEmbeddingsOptions options = OptionsOf(provider, name);
        return new StellaEmbeddingGenerator(
            PoolOf(provider, name),
            new StellaEmbedOptions { Prompt = prompt, Dimension = options.Dimension, OnLongText = options.OnLongText },
            new StellaCallOptions { WhenFull = options.WhenFull },
            provider.GetService<TimeProvider>());
    }

    private static StellaEmbeddingPool NewPool(IServiceProvider provider, string? name)
    {
        StellaEmbeddingsOptions options = OptionsOf(provider, name);
        StellaPoolOptions pool = options.ToPoolOptions() with
        {
            Governor = provider.GetRequiredService<StellaMemoryGovernor>(),
            TimeProvider = provider.GetService<TimeProvider>() ?? TimeProvider.System,
            MeterFactory = provider.GetService<IMeterFactory>(),
            LoggerFactory = provider.GetService<ILoggerFactory>(),
        };
        return new StellaEmbeddingPool(
            options.FindModel(), pool with { Model = pool.Model with { LoggerFactory = pool.LoggerFactory } });
    }

    private static StellaEmbeddingPool PoolOf(IServiceProvider provider, string? name) =>
        name is null ? provider.GetRequiredService<StellaEmbeddingPool>() : provider.GetRequiredKeyedService<StellaEmbeddingPool>(name);

    private static StellaEmbeddingsOptions OptionsOf(IServiceProvider provider, string? name) =>
        provider.GetRequiredService<IOptionsMonitor<StellaEmbeddingsOptions>>().Get(name ?? Options.Options.DefaultName);
}
