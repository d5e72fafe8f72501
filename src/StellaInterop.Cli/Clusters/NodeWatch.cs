using Microsoft.Extensions.DependencyInjection;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cli.Clusters;

/// <summary>
/// Notices that a node must start again: the others take it for dead, or the first node of localhost, which has the members in its memory, is gone.
/// </summary>
internal sealed class NodeWatch : IFatalErrorHandler
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(3);

    /// <summary>The time that a call may take.</summary>
    private static readonly TimeSpan CallTime = TimeSpan.FromSeconds(10);

    /// <summary>The time without an answer after which the cluster is taken for gone. A list of jobs that moves to another node takes less.</summary>
    private static readonly TimeSpan SilenceTime = TimeSpan.FromSeconds(30);

    private readonly TaskCompletionSource<string> end = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool IsUnexpected(Exception exception) => true;

    /// <summary>Records a fault after which a silo must not go on. Orleans itself would end the process.</summary>
    public void OnFatalException(object? sender = null, string? context = null, Exception? exception = null) =>
        end.TrySetResult(exception?.Message ?? context ?? "the silo failed");

    /// <summary>Waits until the node must start again.</summary>
    /// <returns>The reason, as a clause.</returns>
    public async Task<string> WaitAsync(IServiceProvider services, ClusterAddress address, CancellationToken cancellationToken)
    {
        if (address.Store is not LocalhostStore)
        {
            return await end.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        }

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<string> silence = WaitForSilenceAsync(services.GetRequiredService<IGrainFactory>(), stop.Token);
        Task<string> first = await Task.WhenAny(end.Task, silence).WaitAsync(cancellationToken).ConfigureAwait(false);
        await stop.CancelAsync().ConfigureAwait(false);
        return await first.ConfigureAwait(false);
    }

    private static async Task<string> WaitForSilenceAsync(IGrainFactory grains, CancellationToken stop)
    {
        IDirectoryGrain directory = grains.GetGrain<IDirectoryGrain>(0);
        long answered = TimeProvider.System.GetTimestamp();
        while (TimeProvider.System.GetElapsedTime(answered) < SilenceTime)
        {
            await Task.Delay(Interval, stop).ConfigureAwait(false);
            try
            {
                _ = await directory.ListAsync().WaitAsync(CallTime, stop).ConfigureAwait(false);
                answered = TimeProvider.System.GetTimestamp();
            }
#pragma warning disable CA1031 // The cluster may be away in any way.
            catch (Exception) when (!stop.IsCancellationRequested)
#pragma warning restore CA1031
            {
                // The next call may have an answer.
            }
        }

        return "the first node does not answer";
    }
}
