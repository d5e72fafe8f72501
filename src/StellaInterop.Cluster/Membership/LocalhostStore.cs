using System.Net;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Configuration;
using Orleans.Runtime.Hosting;
using Orleans.Storage;
using StellaInterop.Cluster.Errors;

namespace StellaInterop.Cluster.Membership;

/// <summary>Represents the nodes of one machine: the first of them has the members in its memory, and the list of jobs is in a folder.</summary>
/// <param name="port">The port of the first node. Its gateway has the next port, where clients find it.</param>
internal sealed class LocalhostStore(int port) : IClusterStore
{
    public string Shown => $"localhost:{Port}";

    /// <summary>Gets the port of the first node.</summary>
    public int Port => port;

    /// <summary>Gets the folder with the list of jobs.</summary>
    public string Folder => Path.Combine(StateFolder.Path, $"localhost-{Port}");

    public void Configure(ISiloBuilder silo)
    {
        silo.UseDevelopmentClustering(new IPEndPoint(IPAddress.Loopback, Port));
        silo.Services.AddGrainStorage(
            ClusterConfiguration.StorageName, (services, _) => new FileGrainStorage(Folder, services.GetRequiredService<IGrainStorageSerializer>()));
    }

    public void Configure(IClientBuilder client) => client.UseStaticClustering(new IPEndPoint(IPAddress.Loopback, Port + 1));

    public Task PrepareAsync(CancellationToken cancellationToken)
    {
        try
        {
            StateFolder.Create(Folder);
            return Task.CompletedTask;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ClusterException($"The folder {Folder} of the list of jobs cannot be created: {e.Message.TrimEnd('.')}. Let XDG_STATE_HOME name another folder.", e);
        }
    }
}
