using Microsoft.Extensions.DependencyInjection;
using Orleans.Runtime;
using StellaInterop.Bulk.Commit;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Nodes;

/// <summary>Adds what makes a silo a node: the coordinators of jobs, and the worker.</summary>
internal static class NodeHost
{
    public static ISiloBuilder AddNode(this ISiloBuilder silo, NodeOptions options)
    {
        silo.AddCoordinators(options.OpenFolder, options.Clock, options.Policy, options.Safeguards);
        silo.Services.AddSingleton(options);
        silo.Services.AddHostedService<NodeWorker>();
        return silo;
    }

    /// <summary>Adds the coordinators of jobs. A silo with them alone computes nothing.</summary>
    /// <param name="silo">The silo.</param>
    /// <param name="openFolder">Opens an output folder.</param>
    /// <param name="clock">The clock of leases.</param>
    /// <param name="policy">The times and limits of leases.</param>
    /// <param name="safeguards">The safeguards; all but in tests.</param>
    public static ISiloBuilder AddCoordinators(
        this ISiloBuilder silo, Func<string, IOutputFolder> openFolder, TimeProvider clock, LeasePolicy policy, Safeguards safeguards = Safeguards.All)
    {
        silo.Services.AddSingleton(clock);
        silo.Services.AddSingleton(services => new CoordinatorServices(
            openFolder, clock, policy, HasEnded(services.GetRequiredService<ISiloStatusOracle>()), safeguards));
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
