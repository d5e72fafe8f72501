using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using StellaInterop;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Http;
using StellaInterop.Server.Keys;
using StellaInterop.Server.Models;
using StellaInterop.Server.Options;
using StellaInterop.Server.Telemetry;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Provides extension methods that register the embedding server.</summary>
/// <remarks>
/// The server is registered once. Its routes are mapped by the methods of
/// <see cref="Microsoft.AspNetCore.Builder.StellaServerEndpointRouteBuilderExtensions"/>. The host validates the options when it starts,
/// and the container drains and disposes the models when it stops.
/// </remarks>
public static class StellaServerServiceCollectionExtensions
{
    /// <summary>
    /// Registers the embedding server. The options are those of the configuration section
    /// <see cref="StellaServerOptions.DefaultSectionName"/>.
    /// </summary>
    /// <param name="services">The services.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddStellaServer(this IServiceCollection services)
    {
        ArgumentNullException.ThrowIfNull(services);
        _ = Add(services, StellaServerOptions.DefaultSectionName).BindConfiguration(StellaServerOptions.DefaultSectionName);
        return services;
    }

    /// <summary>Registers the embedding server.</summary>
    /// <param name="services">The services.</param>
    /// <param name="configure">Sets the options.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddStellaServer(this IServiceCollection services, Action<StellaServerOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configure);
        _ = Add(services, nameof(StellaServerOptions)).Configure(configure);
        return services;
    }

    /// <summary>Registers the embedding server.</summary>
    /// <param name="services">The services.</param>
    /// <param name="section">The section with the options.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddStellaServer(this IServiceCollection services, IConfigurationSection section)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(section);
        _ = Add(services, section.Path).Bind(section);
        return services;
    }

    private static OptionsBuilder<StellaServerOptions> Add(IServiceCollection services, string section)
    {
        _ = services.AddRouting().AddMetrics().AddLogging().AddCors();
        services.TryAddSingleton(static provider => new ModelRegistry(
            provider.GetRequiredService<IOptions<StellaServerOptions>>(),
            provider.GetRequiredService<Logging.ILoggerFactory>(),
            provider.GetRequiredService<System.Diagnostics.Metrics.IMeterFactory>(),
            provider.GetService<TimeProvider>()));
        services.TryAddSingleton(static provider => new KeyRing(
            provider.GetRequiredService<IOptions<StellaServerOptions>>(),
            provider.GetRequiredService<Logging.ILoggerFactory>(),
            provider.GetService<TimeProvider>()));
        services.TryAddSingleton(static provider => new RequestRoom(provider.GetRequiredService<IOptions<StellaServerOptions>>().Value.GetMaxBufferedBytes()));
        services.TryAddSingleton<CrossOrigin>();
        services.TryAddSingleton<RequestMetrics>();
        services.TryAddSingleton(static provider => new MetricsCollector(
            provider.GetRequiredService<System.Diagnostics.Metrics.IMeterFactory>(),
            [.. provider.GetRequiredService<ModelRegistry>().All.Select(model => model.Name)]));
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IHostedService, ServerLifetime>());
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<StellaServerOptions>, ServerOptionsValidation>(
            _ => new ServerOptionsValidation(section)));
        return services.AddOptions<StellaServerOptions>().ValidateOnStart();
    }
}
