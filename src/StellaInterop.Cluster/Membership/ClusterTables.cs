namespace StellaInterop.Cluster.Membership;

/// <summary>Prepares the server of a cluster for its nodes.</summary>
internal static class ClusterTables
{
    /// <summary>Checks that the server answers, and creates its tables if they are missing.</summary>
    /// <exception cref="Errors.ClusterException">The server does not answer, or refuses.</exception>
    public static Task CreateAsync(ClusterAddress address, CancellationToken cancellationToken) => address.Store.PrepareAsync(cancellationToken);
}
