using Npgsql;

namespace StellaInterop.Cluster.Membership;

/// <summary>Represents a database of PostgreSQL with the members and the list of jobs of a cluster.</summary>
internal sealed class PostgresStore(NpgsqlConnectionStringBuilder connection) : IClusterStore
{
    /// <summary>The name of Npgsql in Orleans.</summary>
    private const string Invariant = "Npgsql";

    public string Shown { get; } = $"postgres://{(connection.Host!.Contains(':', StringComparison.Ordinal) ? $"[{connection.Host}]" : connection.Host)}:{connection.Port}/{connection.Database}";

    /// <summary>Gets the connection string, with the password.</summary>
    public string ConnectionString { get; } = connection.ConnectionString;

    public void Configure(ISiloBuilder silo)
    {
        silo.UseAdoNetClustering(options => (options.Invariant, options.ConnectionString) = (Invariant, ConnectionString));
        silo.AddAdoNetGrainStorage(ClusterConfiguration.StorageName, options =>
        {
            (options.Invariant, options.ConnectionString) = (Invariant, ConnectionString);
            options.DeleteStateOnClear = true;
        });
    }

    public void Configure(IClientBuilder client) =>
        client.UseAdoNetClustering(options => (options.Invariant, options.ConnectionString) = (Invariant, ConnectionString));

    public Task PrepareAsync(CancellationToken cancellationToken) => new PostgresTables(this).CreateAsync(cancellationToken);
}
