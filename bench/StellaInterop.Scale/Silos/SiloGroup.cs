using System.Globalization;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Configuration;
using StellaInterop.Bench.Terminal;
using StellaInterop.Bulk.Commit;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Leases;
using StellaInterop.Cluster.Membership;
using StellaInterop.Cluster.Nodes;

namespace StellaInterop.Scale.Silos;

/// <summary>Represents silos of one cluster in this process, with coordinators and without workers. They speak by TCP on the loopback address.</summary>
internal sealed class SiloGroup : IAsyncDisposable
{
    /// <summary>The first port that is tried. The ports below 20,000 are often those of nodes that run.</summary>
    private const int FirstPort = 21111;

    private readonly List<(IHost Host, SiloPorts Ports)> silos = [];

    /// <summary>Gets the way of each silo to the grains.</summary>
    public IReadOnlyList<IGrainFactory> Grains => [.. silos.Select(silo => silo.Host.Services.GetRequiredService<IGrainFactory>())];

    /// <summary>Starts silos.</summary>
    /// <param name="count">The number of silos.</param>
    /// <param name="calls">Counts their calls.</param>
    public static async Task<SiloGroup> StartAsync(int count, CallMeter calls)
    {
        (ClusterAddress address, SiloPorts first) = await ClaimFirstAsync().ConfigureAwait(false);
        await address.Store.PrepareAsync(CancellationToken.None).ConfigureAwait(false);
        var group = new SiloGroup();
        try
        {
            await group.StartSiloAsync(address, first, calls).ConfigureAwait(false);
            for (int i = 1; i < count; i++)
            {
                SiloPorts ports = await SiloPorts.ClaimAsync(address, null, CancellationToken.None).ConfigureAwait(false);
                await group.StartSiloAsync(address, ports, calls).ConfigureAwait(false);
            }

            return group;
        }
        catch
        {
            await group.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach ((IHost host, SiloPorts ports) in Enumerable.Reverse(silos))
        {
            await host.StopAsync().ConfigureAwait(false);
            await ((IAsyncDisposable)host).DisposeAsync().ConfigureAwait(false);
            ports.Dispose();
        }
    }

    /// <summary>Claims ports that no other cluster of this machine has.</summary>
    private static async Task<(ClusterAddress Address, SiloPorts Ports)> ClaimFirstAsync()
    {
        for (int port = FirstPort; port < FirstPort + 9000; port += 200)
        {
            ClusterAddress address = ClusterAddress.Parse(string.Create(CultureInfo.InvariantCulture, $"localhost:{port}"));
            try
            {
                SiloPorts ports = await SiloPorts.ClaimAsync(address, null, CancellationToken.None).ConfigureAwait(false);
                if (ports.Endpoints.SiloPort == port)
                {
                    return (address, ports);
                }

                ports.Dispose();
            }
            catch (ClusterException)
            {
                // Another program has the port.
            }
        }

        throw new BenchException($"No port from {FirstPort} on is free for a cluster. End the programs that use them.");
    }

    private async Task StartSiloAsync(ClusterAddress address, SiloPorts ports, CallMeter calls)
    {
        var filter = new SiloCallFilter(calls, silos.Count);
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        // Orleans warns of this process: it has no server GC, and its processors are busy.
        builder.Logging.SetMinimumLevel(LogLevel.Warning).AddFilter("Orleans", LogLevel.Error).AddProvider(new ProgressLogProvider());
        builder.UseOrleans(silo =>
        {
            ClusterConfiguration.ConfigureNode(silo, address, ports.Endpoints, tls: null);
            silo.AddCoordinators(path => new DiskFolder(path), TimeProvider.System, LeasePolicy.Default);
            // A simulated worker is not a member, so it would count as dead after an hour.
            silo.Configure<ClusterMembershipOptions>(options => options.SiloGenerationRetirementAge = null);
            silo.Services.AddSingleton<IIncomingGrainCallFilter>(filter);
            silo.Services.AddSingleton<IOutgoingGrainCallFilter>(filter);
        });
        IHost host = builder.Build();
        silos.Add((host, ports));
        await host.StartAsync().ConfigureAwait(false);
    }
}
