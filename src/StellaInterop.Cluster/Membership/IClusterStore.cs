namespace StellaInterop.Cluster.Membership;

/// <summary>Represents the place where a cluster keeps its members and its list of jobs.</summary>
internal interface IClusterStore
{
    /// <summary>Gets the address of the store without its password.</summary>
    string Shown { get; }

    /// <summary>Makes a node find its cluster, and keep the list of jobs, in this store.</summary>
    void Configure(ISiloBuilder silo);

    /// <summary>Makes a client find the nodes in this store.</summary>
    void Configure(IClientBuilder client);

    /// <summary>Checks that the store answers, and creates its tables if they are missing.</summary>
    /// <exception cref="Errors.ClusterException">The store does not answer, or refuses.</exception>
    Task PrepareAsync(CancellationToken cancellationToken);
}
