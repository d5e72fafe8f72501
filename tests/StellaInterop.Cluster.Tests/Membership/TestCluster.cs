using System.Net;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Tests.Membership;

/// <summary>Represents nodes and clients of a cluster in this process.</summary>
internal sealed class TestCluster(ClusterAddress address) : IAsyncDisposable
{
    private readonly List<(IHost Host, SiloPorts? Ports)> hosts = [];

    /// <summary>Starts a node at the loopback address.</summary>
    public async Task<NodeEndpoints> StartNodeAsync(ClusterTls? tls = null, Action<ISiloBuilder>? configure = null)
    {
        SiloPorts ports = await SiloPorts.ClaimAsync(address, address.Store is LocalhostStore ? null : new NodeAddress("127.0.0.1", FreePort.Find()), default);
        HostApplicationBuilder builder = CreateBuilder();
        builder.UseOrleans(silo =>
        {
            ClusterConfiguration.ConfigureNode(silo, address, ports.Endpoints, tls);
            configure?.Invoke(silo);
        });
        await StartAsync(builder, ports);
        return ports.Endpoints;
    }

    /// <summary>Starts a client.</summary>
    /// <exception cref="ClusterException">The client finds no node.</exception>
    public async Task<IClusterClient> StartClientAsync(ClusterTls? tls = null)
    {
        HostApplicationBuilder builder = CreateBuilder();
        builder.UseOrleansClient(client => ClusterConfiguration.ConfigureClient(client, address, tls));
        builder.Services.AddSingleton<IClientConnectionRetryFilter>(new Retries(address));
        return (await StartAsync(builder, null)).Services.GetRequiredService<IClusterClient>();
    }

    /// <summary>Stops a node in order.</summary>
    public async Task StopNodeAsync(NodeEndpoints endpoints)
    {
        (IHost host, SiloPorts? ports) = hosts.Single(node => node.Ports?.Endpoints == endpoints);
        hosts.Remove((host, ports));
        await host.StopAsync();
        await ((IAsyncDisposable)host).DisposeAsync();
        ports?.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        foreach ((IHost host, SiloPorts? ports) in Enumerable.Reverse(hosts))
        {
            // A host that did not start cannot be stopped.
            if (host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStarted.IsCancellationRequested)
            {
                await host.StopAsync();
            }

            await ((IAsyncDisposable)host).DisposeAsync();
            ports?.Dispose();
        }
    }

    private static HostApplicationBuilder CreateBuilder()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.SetMinimumLevel(LogLevel.Warning).AddProvider(new TestLog());
        return builder;
    }

    private async Task<IHost> StartAsync(HostApplicationBuilder builder, SiloPorts? ports)
    {
        IHost host = builder.Build();
        hosts.Add((host, ports));
        await host.StartAsync();
        return host;
    }

    /// <summary>Writes to the output of the test.</summary>
    private sealed class TestLog : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            TestContext.Out.WriteLine($"{logLevel}: {formatter(state, exception)} {exception}");

        public void Dispose()
        {
        }
    }

    /// <summary>Gives up after some attempts.</summary>
    private sealed class Retries(ClusterAddress address) : IClientConnectionRetryFilter
    {
        private const int Attempts = 5;

        private int attempts;

        public Task<bool> ShouldRetryConnectionAttempt(Exception exception, CancellationToken cancellationToken) =>
            ++attempts < Attempts ? Task.FromResult(true) : throw new ClusterException($"No node of {address} answers.", exception);
    }
}
