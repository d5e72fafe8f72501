using Microsoft.Extensions.Hosting;
using StellaInterop.Server.Keys;
using StellaInterop.Server.Models;
using StellaInterop.Server.Telemetry;

namespace StellaInterop.Server.Http;

/// <summary>Reads models and keys when the host starts, and drains the pools when it stops. The web server has stopped taking requests by then.</summary>
internal sealed class ServerLifetime(ModelRegistry models, KeyRing keys, MetricsCollector metrics) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken)
    {
        // They were made for this service: a damaged folder or file of keys ends the start, and no request is missing in the metrics.
        _ = (models, keys, metrics);
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
