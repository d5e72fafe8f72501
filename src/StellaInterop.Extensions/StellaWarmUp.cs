using Microsoft.Extensions.Hosting;

namespace StellaInterop.Extensions;

/// <summary>
/// Loads a model before the host takes requests, if <see cref="StellaEmbeddingServiceOptions.WarmUpOnStart"/> is set.
/// </summary>
/// <param name="pool">Returns the pool of the model.</param>
/// <param name="options">
/// Returns the options. They are read late, because the host creates this service before it validates them.
/// </param>
internal sealed class StellaWarmUp(Func<StellaEmbeddingPool> pool, Func<StellaEmbeddingServiceOptions> options) : IHostedLifecycleService
{
    public Task StartingAsync(CancellationToken cancellationToken) =>
        options().WarmUpOnStart ? pool().WarmUpAsync(cancellationToken) : Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
