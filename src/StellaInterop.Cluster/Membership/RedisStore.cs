using System.Net;
using Microsoft.Extensions.Hosting;
using StackExchange.Redis;
using StellaInterop.Cluster.Errors;

namespace StellaInterop.Cluster.Membership;

/// <summary>Represents a database of Redis with the members and the list of jobs of a cluster.</summary>
internal sealed class RedisStore(ConfigurationOptions connection) : IClusterStore
{
    public string Shown { get; } =
        $"{(connection.Ssl ? "rediss" : "redis")}://{Format(connection.EndPoints[0])}/{connection.DefaultDatabase}";

    /// <summary>Gets the options of a connection, with the password.</summary>
    public ConfigurationOptions Connection { get; } = connection;

    public void Configure(ISiloBuilder silo)
    {
        silo.UseRedisClustering(options => options.ConfigurationOptions = Connection.Clone());
        silo.AddRedisGrainStorage(ClusterConfiguration.StorageName, options =>
        {
            options.ConfigurationOptions = Connection.Clone();
            options.DeleteStateOnClear = true;
        });
    }

    public void Configure(IClientBuilder client) => client.UseRedisClustering(options => options.ConfigurationOptions = Connection.Clone());

    public async Task PrepareAsync(CancellationToken cancellationToken)
    {
        ConfigurationOptions once = Connection.Clone();
        once.ConnectRetry = 1;
        try
        {
            ConnectionMultiplexer redis = await ConnectionMultiplexer.ConnectAsync(once).WaitAsync(cancellationToken).ConfigureAwait(false);
            await using (redis.ConfigureAwait(false))
            {
                await redis.GetDatabase().PingAsync().WaitAsync(cancellationToken).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is RedisException or TimeoutException)
        {
            throw new ClusterException($"Redis at {Shown} does not answer: {e.Message.TrimEnd('.')}. Start the server, or correct the cluster address.", e);
        }
    }

    private static string Format(EndPoint endPoint) => endPoint switch
    {
        // The text of a name begins with its address family.
        DnsEndPoint name => $"{name.Host}:{name.Port}",
        _ => $"{endPoint}",
    };
}
