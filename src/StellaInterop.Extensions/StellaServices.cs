using System.Diagnostics.Metrics;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace StellaInterop.Extensions;

/// <summary>Registers the services of a model and resolves them.</summary>
internal static class StellaServices
{
    /// <summary>Registers the pool, the options and the warm-up of a model.</summary>
    /// <exception cref="InvalidOperationException">The key is already registered.</exception>
    public static OptionsBuilder<StellaEmbeddingServiceOptions> Register(
        IServiceCollection services, object? serviceKey, string? section = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        string optionsName = StellaServiceKeys.GetOptionsName(serviceKey);
        if (services.Any(service => service is { IsKeyedService: false, ImplementationInstance: StellaEmbeddingServiceValidation other } && other.IsFor(optionsName)))
        {
            string model = serviceKey is null ? "A Stella model without a key" : $"A Stella model with the key '{optionsName}'";
            throw new InvalidOperationException(
                $"{model} is already registered, and another model with the same key would replace it. "
                + "Register the other model with another key by AddKeyedStellaEmbeddings, or change the options of the first model by "
                + $"services.Configure<{nameof(StellaEmbeddingServiceOptions)}>({(optionsName.Length == 0 ? "" : $"\"{optionsName}\", ")}options => ...).");
        }

        ThrowIfKeyIsUsed(services, serviceKey);
        services.TryAddSingleton(StellaMemoryGovernor.Shared);
        if (serviceKey is null)
        {
            services.TryAddSingleton(provider => CreatePool(provider, null));
        }
        else
        {
            services.TryAddKeyedSingleton(serviceKey, (provider, _) => CreatePool(provider, serviceKey));
        }

        services.AddSingleton<IHostedService>(provider =>
            new StellaWarmUp(() => GetPool(provider, serviceKey), () => GetOptions(provider, serviceKey)));
        services.AddSingleton<IValidateOptions<StellaEmbeddingServiceOptions>>(
            new StellaEmbeddingServiceValidation(optionsName, section));
        return services.AddOptionsWithValidateOnStart<StellaEmbeddingServiceOptions>(optionsName);
    }

    /// <summary>Registers a generator of a model.</summary>
    /// <exception cref="InvalidOperationException">The key is already registered.</exception>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddGenerator(
        IServiceCollection services, object? modelKey, object? generatorKey, StellaPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(services);
        ThrowIfKeyIsUsed(services, generatorKey);
        EmbeddingGeneratorBuilder<string, Embedding<float>> builder = generatorKey is null
            ? services.AddEmbeddingGenerator<string, Embedding<float>>(provider => CreateGenerator(provider, modelKey, prompt))
            : services.AddKeyedEmbeddingGenerator<string, Embedding<float>>(generatorKey, provider => CreateGenerator(provider, modelKey, prompt));
        return builder.UseStellaCacheKeys();
    }

    public static StellaEmbeddingPool GetPool(IServiceProvider provider, object? serviceKey) => serviceKey is null
        ? provider.GetRequiredService<StellaEmbeddingPool>()
        : provider.GetRequiredKeyedService<StellaEmbeddingPool>(serviceKey);

    /// <summary>Refuses a key that already has a generator, because the container would resolve only the last one.</summary>
    private static void ThrowIfKeyIsUsed(IServiceCollection services, object? key)
    {
        if (key is not null
            && services.Any(service => service.IsKeyedService
                && service.ServiceType == typeof(IEmbeddingGenerator<string, Embedding<float>>)
                && key.Equals(service.ServiceKey)))
        {
            throw new InvalidOperationException(
                $"The key '{key}' already has an embedding generator, which a Stella generator with the same key would replace. "
                + "Register one of the two generators with another key.");
        }
    }

    private static StellaEmbeddingGenerator CreateGenerator(IServiceProvider provider, object? serviceKey, StellaPrompt prompt)
    {
        StellaEmbeddingServiceOptions options = GetOptions(provider, serviceKey);
        return new StellaEmbeddingGenerator(
            GetPool(provider, serviceKey),
            new StellaEmbedOptions
            {
                Prompt = prompt,
                Dimension = options.Model.Dimension,
                LongTextBehavior = options.LongTextBehavior,
                InvalidTextBehavior = options.InvalidTextBehavior,
            },
            new StellaCallOptions { QueueFullMode = options.QueueFullMode },
            provider.GetService<TimeProvider>());
    }

    /// <summary>Creates a pool. The container provides the objects that the options do not set.</summary>
    private static StellaEmbeddingPool CreatePool(IServiceProvider provider, object? serviceKey)
    {
        StellaEmbeddingServiceOptions options = GetOptions(provider, serviceKey);
        ILoggerFactory? loggers = provider.GetService<ILoggerFactory>();
        return new StellaEmbeddingPool(
            options.GetModelFolder(),
            options.Model with
            {
                Name = options.Model.Name ?? (options.ModelPath is { Length: > 0 } ? null : options.ModelName),
                LoggerFactory = options.Model.LoggerFactory ?? loggers,
            },
            options.Pool with
            {
                Governor = options.Pool.Governor ?? provider.GetRequiredService<StellaMemoryGovernor>(),
                TimeProvider = options.Pool.TimeProvider == TimeProvider.System
                    ? provider.GetService<TimeProvider>() ?? TimeProvider.System
                    : options.Pool.TimeProvider,
                MeterFactory = options.Pool.MeterFactory ?? provider.GetService<IMeterFactory>(),
                LoggerFactory = options.Pool.LoggerFactory ?? loggers,
            });
    }

    private static StellaEmbeddingServiceOptions GetOptions(IServiceProvider provider, object? serviceKey) => provider
        .GetRequiredService<IOptionsMonitor<StellaEmbeddingServiceOptions>>()
        .Get(StellaServiceKeys.GetOptionsName(serviceKey));
}
