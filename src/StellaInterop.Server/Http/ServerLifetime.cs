using Microsoft.Extensions.Hosting;
using StellaInterop.Server.Keys;
using StellaInterop.Server.Models;

namespace StellaInterop.Server.Http;

/// <summary>Reads models and keys when the host starts, and drains the pools when it stops. The web server has stopped taking requests by then.</summary>
internal sealed class ServerLifetime(ModelRegistry models, KeyRing keys) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken)
    {
        // Both were made for this service, so a damaged folder or file of keys ends the start.
        _ = (models, keys);
        return Task.CompletedTask;
    }

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
