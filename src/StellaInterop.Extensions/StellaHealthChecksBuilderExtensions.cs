using Microsoft.Extensions.Diagnostics.HealthChecks;
using StellaInterop;
using StellaInterop.Extensions;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Provides extension methods that add health checks of Stella models.</summary>
public static class StellaHealthChecksBuilderExtensions
{
    /// <summary>
    /// Adds two checks of the model without a key: <c>stella:ready</c> with the tag <c>ready</c>, and <c>stella:live</c> with the
    /// tag <c>live</c>.
    /// </summary>
    /// <remarks>
    /// The ready check reports whether calls are answered. Its status is healthy, degraded, or <paramref name="failureStatus"/> if
    /// calls are refused or fail. A model that is not loaded yet is healthy; set
    /// <see cref="StellaEmbeddingServiceOptions.WarmUpOnStart"/> to load it at start. The live check fails only if the pool is
    /// closed. The checks neither embed a text nor wait.
    /// </remarks>
    /// <param name="builder">The builder of the health checks.</param>
    /// <param name="name">
    /// The prefix of both names before <c>:ready</c> and <c>:live</c>, or <see langword="null"/> for <c>stella</c>.
    /// </param>
    /// <param name="failureStatus">
    /// The status of a failed check, or <see langword="null"/> for <see cref="HealthStatus.Unhealthy"/>.
    /// </param>
    /// <param name="tags">Additional tags of both checks.</param>
    /// <param name="timeout">The timeout of each check, or <see langword="null"/> for no timeout.</param>
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
    /// <param name="serviceKey">The key of the model, or <see langword="null"/> for the model without a key.</param>
    /// <param name="name">
    /// The prefix of both names before <c>:ready</c> and <c>:live</c>, or <see langword="null"/> for <c>stella:</c><i>key</i>.
    /// </param>
    /// <param name="failureStatus">
    /// The status of a failed check, or <see langword="null"/> for <see cref="HealthStatus.Unhealthy"/>.
    /// </param>
    /// <param name="tags">Additional tags of both checks.</param>
    /// <param name="timeout">The timeout of each check, or <see langword="null"/> for no timeout.</param>
    /// <returns>The builder.</returns>
    /// <exception cref="ArgumentException">
    /// The text of the key is blank or starts with <see cref="StellaServiceKeys.Query"/>.
    /// </exception>
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
        string[] additionalTags = [.. tags ?? []];
        foreach ((StellaHealthKind kind, string tag) in new[] { (StellaHealthKind.Ready, "ready"), (StellaHealthKind.Live, "live") })
        {
            builder.Add(new HealthCheckRegistration(
                $"{name}:{tag}",
                provider => new StellaHealthCheck(StellaServices.GetPool(provider, serviceKey), kind),
                failureStatus,
                [tag, .. additionalTags],
                timeout));
        }

        return builder;
    }
}
