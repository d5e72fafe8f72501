using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Options;
using StellaInterop.Cluster.Clients;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cli.Clusters;

/// <summary>Connects commands to the cluster of the command line. Only this folder of the command line uses StellaInterop.Cluster.</summary>
internal static class ClusterConnection
{
    /// <summary>Reads the address of a cluster.</summary>
    /// <exception cref="CliException">The address is not valid.</exception>
    public static ClusterAddress AddressOf(ClusterSettings settings) => Usage(() => ClusterAddress.Parse(settings.Address));

    /// <summary>Parses a value of the command line.</summary>
    /// <exception cref="CliException">The value is not valid.</exception>
    public static T Usage<T>(Func<T> parse)
    {
        try
        {
            return parse();
        }
        catch (ArgumentException e)
        {
            // The message has the cause already.
            throw new CliException(ExitCode.Usage, e.Message);
        }
    }

    public static ClusterTls? TlsOf(ClusterSettings settings) =>
        settings is { Certificate: { } certificate, Authority: { } authority } ? new ClusterTls(certificate, settings.CertificateKey, authority) : null;

    /// <summary>Runs an action with a connection to the cluster.</summary>
    /// <exception cref="CliException">The cluster does not answer.</exception>
    public static async Task<T> UseAsync<T>(ClusterSettings settings, Func<ClusterClient, Task<T>> action, CancellationToken cancellationToken)
    {
        try
        {
            ClusterClient client = await ClusterClient.ConnectAsync(AddressOf(settings), TlsOf(settings), cancellationToken).ConfigureAwait(false);
            await using (client.ConfigureAwait(false))
            {
                return await action(client).ConfigureAwait(false);
            }
        }
        catch (ClusterException e)
        {
            throw Refusal(e);
        }
    }

    /// <summary>Returns the error of the command. The message of a fault of the cluster has its cause already.</summary>
    public static CliException Refusal(ClusterException fault) => new(ExitCode.Network, fault.Message);
}
