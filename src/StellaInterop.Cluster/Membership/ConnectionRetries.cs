using StellaInterop.Cluster.Errors;

namespace StellaInterop.Cluster.Membership;

/// <summary>Tries some times to connect a client to the first node. Orleans tries for three minutes by default.</summary>
/// <param name="address">The address of the cluster.</param>
/// <param name="delay">The time between two attempts.</param>
internal sealed class ConnectionRetries(ClusterAddress address, TimeSpan delay) : IClientConnectionRetryFilter
{
    private const int Attempts = 5;

    private int attempts;

    public async Task<bool> ShouldRetryConnectionAttempt(Exception exception, CancellationToken cancellationToken)
    {
        if (++attempts >= Attempts)
        {
            throw new ClusterException(
                $"No node of {address} answers: {exception.Message.TrimEnd('.')}. Start a node with 'stella node --cluster' and this address, and with the same TLS files.", exception);
        }

        await Task.Delay(delay, cancellationToken).ConfigureAwait(false);
        return true;
    }
}
