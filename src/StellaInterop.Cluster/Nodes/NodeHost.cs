using Microsoft.Extensions.DependencyInjection;
using Orleans.Runtime;
using StellaInterop.Bulk.Commit;
using StellaInterop.Cluster.Jobs;

namespace StellaInterop.Cluster.Nodes;

/// <summary>Adds what makes a silo a node: the coordinators of jobs, and the worker.</summary>
internal static class NodeHost
{
    public static ISiloBuilder AddNode(this ISiloBuilder silo, NodeOptions options)
    {
        silo.Services.AddSingleton(options);
        silo.Services.AddSingleton(options.Clock);
        silo.Services.AddSingleton(services => new CoordinatorServices(
            path => new DiskFolder(path), options.Clock, options.Policy, HasEnded(services.GetRequiredService<ISiloStatusOracle>()), options.Safeguards));
        silo.Services.AddHostedService<NodeWorker>();
        return silo;
    }

    /// <summary>Returns a function that asks the membership whether a node has ended. It does not know the nodes of other clusters.</summary>
    public static Predicate<string> HasEnded(ISiloStatusOracle membership) => node =>
    {
        try
        {
            return node.Length > 0 && membership.GetApproximateSiloStatus(SiloAddress.FromParsableString(node)) == SiloStatus.Dead;
        }
        catch (FormatException)
        {
            return false;
        }
    };
}
