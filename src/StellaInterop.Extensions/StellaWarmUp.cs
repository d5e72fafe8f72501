using Microsoft.Extensions.Hosting;

namespace StellaInterop.Extensions;

/// <summary>Loads a model before the host takes requests, if its options ask for that.</summary>
/// <param name="pool">Returns the pool of the model.</param>
/// <param name="options">Returns the options. The host creates this before it validates the options of all models.</param>
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
