using Microsoft.Extensions.Diagnostics.HealthChecks;
using StellaInterop;
using StellaInterop.Extensions;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds the health of Stella models to the health checks of a service.</summary>
public static class StellaHealthChecksBuilderExtensions
{
    /// <summary>Adds two checks of the model without a key: <c>stella:ready</c> with the tag <c>ready</c>, and <c>stella:live</c> with the tag <c>live</c>.</summary>
    /// <remarks>
    /// The ready check tells whether calls are answered: healthy, degraded, or <paramref name="failureStatus"/> if calls are refused or
    /// fail. A model that no call has loaded yet is healthy; set
    /// <see cref="StellaEmbeddingServiceOptions.WarmUpOnStart"/> to load it before. The live check fails only when the pool is
    /// closed. Neither check embeds a text or waits.
    /// </remarks>
    /// <param name="builder">The builder of the health checks.</param>
    /// <param name="name">The part of both names before <c>:ready</c> and <c>:live</c>; <see langword="null"/> for <c>stella</c>.</param>
    /// <param name="failureStatus">The status of a check that fails; <see langword="null"/> for <see cref="HealthStatus.Unhealthy"/>.</param>
    /// <param name="tags">Tags of both checks besides their own.</param>
    /// <param name="timeout">The timeout of each check; <see langword="null"/> for none.</param>
    /// <returns>The builder.</returns>
    public static IHealthChecksBuilder AddStellaHealthChecks(
        this IHealthChecksBuilder builder,
        string? name = null,
        HealthStatus? failureStatus = null,
        IEnumerable<string>? tags = null,
        TimeSpan? timeout = null) =>
        AddKeyedStellaHealthChecks(builder, null, name, failureStatus, tags, timeout);

    /// <summary>
    /// Adds two checks of the model with a key: <c>stella:</c><i>key</i><c>:ready</c> with the tag <c>ready</c>, and
    /// <c>stella:</c><i>key</i><c>:live</c> with the tag <c>live</c>.
    /// </summary>
    /// <param name="builder">The builder of the health checks.</param>
    /// <param name="serviceKey">The key of the model; <see langword="null"/> for the model without one.</param>
    /// <param name="name">
    /// The part of both names before <c>:ready</c> and <c>:live</c>; <see langword="null"/> for <c>stella:</c><i>key</i>.
    /// </param>
    /// <param name="failureStatus">The status of a check that fails; <see langword="null"/> for <see cref="HealthStatus.Unhealthy"/>.</param>
    /// <param name="tags">Tags of both checks besides their own.</param>
    /// <param name="timeout">The timeout of each check; <see langword="null"/> for none.</param>
    /// <returns>The builder.</returns>
    /// <exception cref="ArgumentException">The text of the key is blank or begins with <see cref="StellaServiceKeys.Query"/>.</exception>
    /// <inheritdoc cref="AddStellaHealthChecks" path="/remarks"/>
    public static IHealthChecksBuilder AddKeyedStellaHealthChecks(
        this IHealthChecksBuilder builder,
        object? serviceKey,
        string? name = null,
        HealthStatus? failureStatus = null,
        IEnumerable<string>? tags = null,
        TimeSpan? timeout = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        string optionsName = StellaServiceKeys.GetOptionsName(serviceKey);
        name ??= optionsName.Length == 0 ? "stella" : $"stella:{optionsName}";
        string[] others = [.. tags ?? []];
        foreach ((StellaHealthKind kind, string tag) in new[] { (StellaHealthKind.Ready, "ready"), (StellaHealthKind.Live, "live") })
        {
            builder.Add(new HealthCheckRegistration(
                $"{name}:{tag}",
                provider => new StellaHealthCheck(StellaServices.PoolOf(provider, serviceKey), kind),
                failureStatus,
                [tag, .. others],
                timeout));
        }

        return builder;
    }
}
