using Microsoft.Extensions.Hosting;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli.Serving;

/// <summary>Leaves the signals of the process to <see cref="CommandStop"/>.</summary>
internal sealed class NoLifetime : IHostLifetime
{
    public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
