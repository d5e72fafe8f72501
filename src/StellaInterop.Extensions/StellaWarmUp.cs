using Microsoft.Extensions.Hosting;

namespace StellaInterop.Extensions;

/// <summary>Loads a model before the service takes requests, if its settings ask for that.</summary>
internal sealed class StellaWarmUp(Func<StellaEmbeddingPool> pool, StellaEmbeddingsOptions options) : IHostedLifecycleService
{
    public Task StartingAsync(CancellationToken cancellationToken) =>
        options.WarmUpOnStart ? pool().WarmUpAsync(cancellationToken) : Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
