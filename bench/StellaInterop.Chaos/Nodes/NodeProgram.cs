using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Cluster.Membership;
using StellaInterop.Cluster.Nodes;
using StellaInterop.Models.Mini;

namespace StellaInterop.Chaos.Nodes;

/// <summary>Runs a node of the cluster until it is stopped, or until the run is gone.</summary>
internal static class NodeProgram
{
    public static async Task<int> RunAsync(NodeArguments arguments, CancellationToken cancellationToken)
    {
        EndWithRun();
        bool isStarted = false;
        try
        {
            var pool = new StellaEmbeddingPool(StellaMiniModel.Path);
            await using var end = pool.ConfigureAwait(false);
            StellaModelInfo model = await pool.WarmUpAsync(cancellationToken).ConfigureAwait(false);
            ClusterAddress address = ClusterAddress.Parse(arguments.Cluster);
            await address.Store.PrepareAsync(cancellationToken).ConfigureAwait(false);
            using SiloPorts ports = await SiloPorts.ClaimAsync(
                address, new NodeAddress(arguments.Address, arguments.Port), cancellationToken).ConfigureAwait(false);
            using IHost host = Build(arguments, pool, model, address, ports);
            await host.StartAsync(cancellationToken).ConfigureAwait(false);
            isStarted = true;
            await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await host.StopAsync(CancellationToken.None).ConfigureAwait(false);
            return 0;
        }
#pragma warning disable CA1031 // A start that SIGTERM cancels may fail in any way.
        catch (Exception) when (!isStarted && cancellationToken.IsCancellationRequested)
#pragma warning restore CA1031
        {
            return 0;
        }
    }

    private static IHost Build(NodeArguments arguments, StellaEmbeddingPool pool, StellaModelInfo model, ClusterAddress address, SiloPorts ports)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.SetMinimumLevel(LogLevel.Warning).AddSimpleConsole(options => options.TimestampFormat = "HH:mm:ss ");
        builder.UseOrleans(silo =>
        {
            ClusterConfiguration.ConfigureNode(silo, address, ports.Endpoints, tls: null);
            silo.AddNode(new NodeOptions
            {
                ModelName = arguments.OtherModel ? "other" : "stella-mini",
                Level = model.CpuLevel.ToString(),
                Version = "chaos",
                Machine = arguments.Name,
                CreateEmbedder = options => new FaultyEmbedder(new PoolEmbedder(pool, options), arguments),
                // The embedder hides its fingerprint.
                Safeguards = Safeguards.All & ~(arguments.Lose & ~Safeguards.Fingerprint),
            });
        });
        return builder.Build();
    }

    /// <summary>Ends this process when its input does: the run has ended without stopping its nodes.</summary>
    private static void EndWithRun() => new Thread(() =>
    {
        using Stream input = Console.OpenStandardInput();
        _ = input.ReadByte();
        Environment.FailFast("The run has ended.");
    })
    { IsBackground = true }.Start();
}
