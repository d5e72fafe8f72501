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
    /// <summary>Registers a model: its pool, its options, and its load at the start of the host.</summary>
    /// <exception cref="InvalidOperationException">The key is already registered.</exception>
    public static OptionsBuilder<StellaEmbeddingServiceOptions> Register(
        IServiceCollection services, object? serviceKey, string? section = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        string optionsName = StellaServiceKeys.GetOptionsName(serviceKey);
        if (services.Any(service => service is { IsKeyedService: false, ImplementationInstance: StellaEmbeddingServiceValidation other } && other.IsOf(optionsName)))
        {
            string model = serviceKey is null ? "A Stella model without a key" : $"A Stella model with the key '{optionsName}'";
            throw new InvalidOperationException(
                $"{model} is already registered, and a second one with the same key would replace it. "
                + "Register the second with another key by AddKeyedStellaEmbeddings, or change the options of the first by "
                + $"services.Configure<{nameof(StellaEmbeddingServiceOptions)}>({(optionsName.Length == 0 ? "" : $"\"{optionsName}\", ")}options => ...).");
        }

        ThrowIfTaken(services, serviceKey);
        services.TryAddSingleton(StellaMemoryGovernor.Shared);
        if (serviceKey is null)
        {
            services.TryAddSingleton(provider => NewPool(provider, null));
        }
        else
        {
            services.TryAddKeyedSingleton(serviceKey, (provider, _) => NewPool(provider, serviceKey));
        }

        services.AddSingleton<IHostedService>(provider =>
            new StellaWarmUp(() => PoolOf(provider, serviceKey), () => OptionsOf(provider, serviceKey)));
        services.AddSingleton<IValidateOptions<StellaEmbeddingServiceOptions>>(
            new StellaEmbeddingServiceValidation(optionsName, section));
        return services.AddOptionsWithValidateOnStart<StellaEmbeddingServiceOptions>(optionsName);
    }

    /// <summary>Registers a generator of a model under a key of its own.</summary>
    /// <exception cref="InvalidOperationException">The key is already registered.</exception>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddGenerator(
        IServiceCollection services, object? modelKey, object? generatorKey, StellaPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(services);
        ThrowIfTaken(services, generatorKey);
        EmbeddingGeneratorBuilder<string, Embedding<float>> builder = generatorKey is null
            ? services.AddEmbeddingGenerator<string, Embedding<float>>(provider => NewGenerator(provider, modelKey, prompt))
            : services.AddKeyedEmbeddingGenerator<string, Embedding<float>>(generatorKey, provider => NewGenerator(provider, modelKey, prompt));
        return builder.UseStellaCacheKeys();
    }

    public static StellaEmbeddingPool PoolOf(IServiceProvider provider, object? serviceKey) => serviceKey is null
        ? provider.GetRequiredService<StellaEmbeddingPool>()
        : provider.GetRequiredKeyedService<StellaEmbeddingPool>(serviceKey);

    /// <summary>Refuses a key that has a generator already, whoever registered it: the container would give out the last one.</summary>
    private static void ThrowIfTaken(IServiceCollection services, object? key)
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

    private static StellaEmbeddingGenerator NewGenerator(IServiceProvider provider, object? serviceKey, StellaPrompt prompt)
    {
        StellaEmbeddingServiceOptions options = OptionsOf(provider, serviceKey);
        return new StellaEmbeddingGenerator(
            PoolOf(provider, serviceKey),
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

    /// <summary>Makes a pool. Objects that the options leave open come from the container.</summary>
    private static StellaEmbeddingPool NewPool(IServiceProvider provider, object? serviceKey)
    {
        StellaEmbeddingServiceOptions options = OptionsOf(provider, serviceKey);
        ILoggerFactory? loggers = provider.GetService<ILoggerFactory>();
        return new StellaEmbeddingPool(
            options.FindModel(),
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

    private static StellaEmbeddingServiceOptions OptionsOf(IServiceProvider provider, object? serviceKey) => provider
        .GetRequiredService<IOptionsMonitor<StellaEmbeddingServiceOptions>>()
        .Get(StellaServiceKeys.GetOptionsName(serviceKey));
}
