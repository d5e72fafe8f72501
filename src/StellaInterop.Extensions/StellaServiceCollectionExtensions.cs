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
/// A second registration of the same model or of the same key is refused, because the container would give out the second in
/// place of the first. All models share one memory budget. The container disposes everything, waiting for accepted calls if it is disposed
/// asynchronously.
/// </remarks>
public static class StellaServiceCollectionExtensions
{
    /// <summary>Registers a model, with its generator of documents.</summary>
    /// <param name="services">The services.</param>
    /// <param name="configure">Its settings.</param>
    /// <exception cref="InvalidOperationException">The model or its key is already registered.</exception>
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
    /// <exception cref="InvalidOperationException">The model or its key is already registered.</exception>
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
    /// <param name="name">The name: any text that is not blank and does not begin with <see cref="StellaServiceKeys.Query"/>.</param>
    /// <param name="configure">Its settings.</param>
    /// <exception cref="InvalidOperationException">The model or its key is already registered.</exception>
    /// <returns>A builder, to which middleware is chained.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedStellaEmbeddings(
        this IServiceCollection services, string name, Action<StellaEmbeddingsOptions> configure)
    {
        StellaServiceKeys.CheckName(name);
        ArgumentNullException.ThrowIfNull(configure);
        Register(services, name).Configure(configure);
        return AddGenerator(services, name, name, StellaPrompt.Document);
    }

    /// <summary>Registers a model by a name, with its generator of documents under that name as the key.</summary>
    /// <param name="services">The services.</param>
    /// <param name="name">The name: any text that is not blank and does not begin with <see cref="StellaServiceKeys.Query"/>.</param>
    /// <param name="section">The section with its settings.</param>
    /// <exception cref="InvalidOperationException">The model or its key is already registered.</exception>
    /// <returns>A builder, to which middleware is chained.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedStellaEmbeddings(
        this IServiceCollection services, string name, IConfigurationSection section)
    {
        StellaServiceKeys.CheckName(name);
        ArgumentNullException.ThrowIfNull(section);
        Register(services, name, section.Path).Bind(section);
        return AddGenerator(services, name, name, StellaPrompt.Document);
    }

    /// <summary>Adds the generator of queries of the model without a name, under <see cref="StellaServiceKeys.Query"/>.</summary>
    /// <param name="services">The services.</param>
    /// <param name="prompt">
    /// The prompt of the queries; <see langword="null"/> for <see cref="StellaPrompt.SearchQuery"/>. A model without Stella's heads has
    /// only the prompts that its folder names.
    /// </param>
    /// <exception cref="InvalidOperationException">The key is already registered.</exception>
    /// <returns>A builder, to which middleware is chained.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddStellaQueryEmbeddings(
        this IServiceCollection services, StellaPrompt? prompt = null) =>
        AddGenerator(services, null, StellaServiceKeys.Query, prompt ?? StellaPrompt.SearchQuery);

    /// <summary>Adds the generator of queries of a named model, under <see cref="StellaServiceKeys.QueryOf"/>.</summary>
    /// <param name="services">The services.</param>
    /// <param name="name">The model's name.</param>
    /// <param name="prompt">
    /// The prompt of the queries; <see langword="null"/> for <see cref="StellaPrompt.SearchQuery"/>. A model without Stella's heads has
    /// only the prompts that its folder names.
    /// </param>
    /// <exception cref="InvalidOperationException">The key is already registered.</exception>
    /// <returns>A builder, to which middleware is chained.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedStellaQueryEmbeddings(
        this IServiceCollection services, string name, StellaPrompt? prompt = null)
    {
        StellaServiceKeys.CheckName(name);
        return AddGenerator(services, name, StellaServiceKeys.QueryOf(name), prompt ?? StellaPrompt.SearchQuery);
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
        if (services.Any(service => service is { IsKeyedService: false, ImplementationInstance: StellaEmbeddingsValidation other } && other.IsOf(name)))
        {
            string model = name is null ? "A Stella model without a name" : $"A Stella model with the name '{name}'";
            throw new InvalidOperationException(
                $"{model} is already registered, and a second one of the same name would replace it. "
                + "Register the second by another name with AddKeyedStellaEmbeddings, or change the settings of the first with services.Configure.");
        }

        ThrowIfTaken(services, name);
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
            new StellaEmbeddingsValidation(name, section));
        return services.AddOptionsWithValidateOnStart<StellaEmbeddingsOptions>(name);
    }

    private static EmbeddingGeneratorBuilder<string, Embedding<float>> AddGenerator(
        IServiceCollection services, string? name, string? key, StellaPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(services);
        ThrowIfTaken(services, key);
        EmbeddingGeneratorBuilder<string, Embedding<float>> builder = key is null
            ? services.AddEmbeddingGenerator<string, Embedding<float>>(provider => NewGenerator(provider, name, prompt))
            : services.AddKeyedEmbeddingGenerator<string, Embedding<float>>(key, provider => NewGenerator(provider, name, prompt));
        return builder.UseStellaCacheKeys();
    }

    /// <summary>Refuses a key that has a generator already, whoever registered it: the container would give out the last one.</summary>
    private static void ThrowIfTaken(IServiceCollection services, string? key)
    {
        if (key is not null
            && services.Any(service => service.IsKeyedService
                && service.ServiceType == typeof(IEmbeddingGenerator<string, Embedding<float>>)
                && key.Equals(service.ServiceKey)))
        {
            throw new InvalidOperationException(
                $"The key '{key}' already has an embedding generator, which a Stella generator under the same key would replace. "
                + "Register one of the two under another key.");
        }
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
