using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Orleans.Configuration;

namespace StellaInterop.Cluster.Membership;

/// <summary>Configures the nodes and clients of a cluster.</summary>
internal static class ClusterConfiguration
{
    /// <summary>The name of the grain storage for the list of jobs.</summary>
    public const string StorageName = "stella";

    private const string ClusterName = "stella";

    /// <summary>The time after which the row of a silo that ended is deleted. By then, every node has read that it ended.</summary>
    private static readonly TimeSpan DefunctSiloExpiration = TimeSpan.FromHours(1);

    /// <summary>The time between deletions of such rows, which Orleans keeps otherwise (dotnet/orleans#6661).</summary>
    private static readonly TimeSpan DefunctSiloCleanupPeriod = TimeSpan.FromMinutes(10);

    /// <summary>The time for an orderly end. Kubernetes kills a process after 30 seconds.</summary>
    private static readonly TimeSpan ShutdownTimeout = TimeSpan.FromSeconds(25);

    /// <summary>Makes a silo a node of a cluster.</summary>
    /// <param name="silo">The silo.</param>
    /// <param name="address">The address of the cluster.</param>
    /// <param name="endpoints">The addresses of the node, which <see cref="SiloPorts"/> has claimed.</param>
    /// <param name="tls">The certificates of its connections; <see langword="null"/> for connections without TLS.</param>
    public static void ConfigureNode(ISiloBuilder silo, ClusterAddress address, NodeEndpoints endpoints, ClusterTls? tls)
    {
        silo.Configure<ClusterOptions>(SetNames);
        silo.Configure<ClusterMembershipOptions>(options =>
        {
            options.DefunctSiloExpiration = DefunctSiloExpiration;
            options.DefunctSiloCleanupPeriod = DefunctSiloCleanupPeriod;
        });
        silo.Configure<EndpointOptions>(endpoints.Set);
        silo.Services.Configure<HostOptions>(options => options.ShutdownTimeout = ShutdownTimeout);
        address.Store.Configure(silo);
        tls?.Secure(silo);
    }

    /// <summary>Makes a client find the nodes of a cluster.</summary>
    /// <param name="client">The client.</param>
    /// <param name="address">The address of the cluster.</param>
    /// <param name="tls">The certificates of its connections; <see langword="null"/> for connections without TLS.</param>
    public static void ConfigureClient(IClientBuilder client, ClusterAddress address, ClusterTls? tls)
    {
        client.Configure<ClusterOptions>(SetNames);
        address.Store.Configure(client);
        tls?.Secure(client);
    }

    private static void SetNames(ClusterOptions options) => (options.ClusterId, options.ServiceId) = (ClusterName, ClusterName);
}
