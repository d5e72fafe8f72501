using System.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Orleans.Configuration;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Clients;

/// <summary>Represents a connection to a cluster from a program that is not one of its nodes. Thread-safe.</summary>
internal sealed class ClusterClient : IAsyncDisposable
{
    /// <summary>The time in which a node must be found. A node that is started at the same time needs some of it to load its model.</summary>
    private static readonly TimeSpan ConnectTime = TimeSpan.FromSeconds(15);

    /// <summary>The time in which a node must answer.</summary>
    private static readonly TimeSpan ResponseTime = TimeSpan.FromSeconds(10);

    /// <summary>The time from one attempt to find a node to the next.</summary>
    private static readonly TimeSpan RetryTime = TimeSpan.FromMilliseconds(500);

    /// <summary>The time for an orderly end. Nobody waits for a connection that is broken.</summary>
    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    private readonly IHost host;
    private readonly ClusterAddress address;
    private readonly IDirectoryGrain directory;

    private ClusterClient(IHost host, ClusterAddress address)
    {
        this.host = host;
        this.address = address;
        directory = host.Services.GetRequiredService<IGrainFactory>().GetGrain<IDirectoryGrain>(0);
    }

    /// <summary>Finds a node, and connects to it.</summary>
    /// <param name="address">The address of the cluster.</param>
    /// <param name="tls">The certificates of the connection; <see langword="null"/> for a connection without TLS.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="ClusterException">No node answers, or a certificate cannot be used.</exception>
    public static async Task<ClusterClient> ConnectAsync(ClusterAddress address, ClusterTls? tls, CancellationToken cancellationToken)
    {
        // The empty builder has no log: each attempt would log its failure, and the last one becomes the message.
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        using var time = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var attempts = new Attempts(time.Token);
        builder.UseOrleansClient(client =>
        {
            ClusterConfiguration.ConfigureClient(client, address, tls);
            client.UseConnectionRetryFilter(attempts);
            client.Configure<ClientMessagingOptions>(options => options.ResponseTimeout = ResponseTime);
        });
        IHost host = builder.Build();
        try
        {
            time.CancelAfter(ConnectTime);
            await host.StartAsync(time.Token).WaitAsync(time.Token).ConfigureAwait(false);
            return new ClusterClient(host, address);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            await StopAsync(host).ConfigureAwait(false);
            throw Unreachable(address, e is OperationCanceledException ? attempts.LastError ?? e : e);
        }
        catch (OperationCanceledException)
        {
            await StopAsync(host).ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc cref="IDirectoryGrain.SubmitAsync"/>
    /// <exception cref="ClusterException">The cluster does not answer. The job may have been added.</exception>
    public Task<string?> SubmitAsync(JobRequest request, CancellationToken cancellationToken) => CallAsync(() => directory.SubmitAsync(request.ToJson()), cancellationToken);

    /// <inheritdoc cref="IDirectoryGrain.ListAsync"/>
    /// <summary>Lists the jobs and the nodes.</summary>
    /// <exception cref="ClusterException">The cluster does not answer.</exception>
    public Task<ClusterStatus> ListAsync(CancellationToken cancellationToken) => CallAsync(directory.ListAsync, cancellationToken);

    /// <inheritdoc cref="IDirectoryGrain.WishAsync"/>
    /// <exception cref="ClusterException">The cluster does not answer. The wish may have been recorded.</exception>
    public Task<bool> WishAsync(string folder, JobWish wish, CancellationToken cancellationToken) => CallAsync(() => directory.WishAsync(folder, wish), cancellationToken);

    /// <inheritdoc cref="IDirectoryGrain.RemoveAsync"/>
    /// <exception cref="ClusterException">The cluster does not answer. The job may have been removed.</exception>
    public Task<bool> RemoveAsync(string folder, CancellationToken cancellationToken) => CallAsync(() => directory.RemoveAsync(folder), cancellationToken);

    public async ValueTask DisposeAsync() => await StopAsync(host).ConfigureAwait(false);

    private static async Task StopAsync(IHost host)
    {
        using var time = new CancellationTokenSource(StopTime);
        try
        {
            await host.StopAsync(time.Token).WaitAsync(time.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or OrleansException or InvalidOperationException or ObjectDisposedException)
        {
            // The connection is broken, or was never there.
            Debug.WriteLine(e);
        }

        host.Dispose();
    }

    private static ClusterException Unreachable(ClusterAddress address, Exception cause)
    {
        if (cause is ClusterException fault)
        {
            return fault;
        }

        // Orleans says no more than that. The server of the members says why.
        string reason = cause is OrleansException or OperationCanceledException ? "" : $": {cause.GetBaseException().Message.TrimEnd('.')}";
        return new ClusterException(
            $"No node of the cluster at {address} answers{reason}. Start one by 'stella node --cluster', or correct the address and the certificates.", cause);
    }

    private async Task<T> CallAsync<T>(Func<Task<T>> call, CancellationToken cancellationToken)
    {
        try
        {
            return await call().WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new ClusterException($"The cluster at {address} does not answer: {e.GetBaseException().Message.TrimEnd('.')}. Try again, or see the messages of its nodes.", e);
        }
    }

    /// <summary>Tries again until the time is over, whatever the error: each of them may be that of a server or a node that is about to start.</summary>
    private sealed class Attempts(CancellationToken end) : IClientConnectionRetryFilter
    {
        public Exception? LastError { get; private set; }

        public async Task<bool> ShouldRetryConnectionAttempt(Exception exception, CancellationToken cancellationToken)
        {
            LastError = exception;
            await Task.Delay(RetryTime, end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return !end.IsCancellationRequested;
        }
    }
}
