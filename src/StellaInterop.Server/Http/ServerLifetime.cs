using Microsoft.Extensions.Hosting;
using StellaInterop.Server.Models;

namespace StellaInterop.Server.Http;

/// <summary>Drains the pools when the host stops. The web server has stopped taking requests by then.</summary>
internal sealed class ServerLifetime(ModelRegistry models) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        try
        {
            await models.DrainAsync().WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // The host has no more time; the disposal of the registry ends the rest.
        }
    }
}
