using System.Globalization;
using System.Net;
using StellaInterop.Bulk.Commit;
using StellaInterop.Chaos.History;
using StellaInterop.Chaos.Machine;
using StellaInterop.Chaos.Postgres;
using StellaInterop.Cluster.Tests.Membership;

namespace StellaInterop.Chaos.Nodes;

/// <summary>Represents the nodes of a run.</summary>
/// <param name="postgres">The membership.</param>
/// <param name="network">The network; <see langword="null"/> if the nodes share that of the machine.</param>
/// <param name="work">The folder of the run.</param>
/// <param name="lose">The safeguard that the nodes lose; none in a usual run.</param>
/// <param name="history">The history of the run.</param>
internal sealed class NodeFleet(PostgresServer postgres, NodeNetwork? network, string work, Safeguards lose, RunHistory history) : IAsyncDisposable
{
    /// <summary>The port of a node with an address of its own.</summary>
    private const int UsualPort = 11111;

    /// <summary>The time that a call for vectors takes, so that a job lasts as long as its faults.</summary>
    public static readonly TimeSpan Delay = TimeSpan.FromSeconds(2);

    private readonly Lock gate = new();
    private readonly Dictionary<int, NodeProcess> nodes = [];
    private readonly List<int> ports = [];
    private bool isPostgresHeld;

    public NodeProcess this[int number]
    {
        get
        {
            lock (gate)
            {
                return nodes[number];
            }
        }
    }

    private NodeProcess[] All
    {
        get
        {
            lock (gate)
            {
                return [.. nodes.Values];
            }
        }
    }

    /// <summary>Starts a node.</summary>
    /// <param name="number">The number of the node, from 1.</param>
    /// <param name="otherModel">Whether it has another model than that of the job.</param>
    public async Task JoinAsync(int number, bool otherModel = false)
    {
        IPAddress address = network is null ? IPAddress.Loopback : await network.AddAsync(number).ConfigureAwait(false);
        var relay = new Relay(network?.HostAddress ?? IPAddress.Loopback, postgres.Host, postgres.Port);
        var arguments = new NodeArguments(
            string.Create(CultureInfo.InvariantCulture, $"node-{number}"),
            postgres.AddressVia(relay.Address),
            address.ToString(),
            network is null ? FindPort() : UsualPort,
            work,
            Delay,
            otherModel,
            lose);
        lock (gate)
        {
            relay.IsPostgresHeld = isPostgresHeld;
            nodes.Add(number, new NodeProcess(arguments, network?.CommandIn(number) ?? [], relay, history));
        }
    }

    /// <summary>Cuts a node off from the others and from PostgreSQL; without a network of its own, from PostgreSQL alone.</summary>
    public async Task CutAsync(int number)
    {
        this[number].Relay.IsNodeCut = network is null;
        await (network?.CutAsync(number) ?? Task.CompletedTask).ConfigureAwait(false);
    }

    public async Task MendAsync(int number)
    {
        this[number].Relay.IsNodeCut = false;
        await (network?.MendAsync(number) ?? Task.CompletedTask).ConfigureAwait(false);
    }

    /// <summary>Cuts all nodes off from a PostgreSQL server that this run cannot stop.</summary>
    public void HoldPostgres(bool holds)
    {
        lock (gate)
        {
            isPostgresHeld = holds;
            foreach (NodeProcess node in nodes.Values)
            {
                node.Relay.IsPostgresHeld = holds;
            }
        }
    }

    /// <summary>Stops all nodes as an operator does.</summary>
    /// <returns>A violation for each node that did not end in order, or that left a process behind.</returns>
    public async Task<IReadOnlyList<string>> LeaveAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        NodeProcess[] all = All;
        string?[] ends = await Task.WhenAll(all.Select(node => node.LeaveAsync(timeout, cancellationToken))).ConfigureAwait(false);
        IReadOnlyList<int> strays = network is null ? [] : await network.ProcessesAsync().ConfigureAwait(false);
        return [.. ends.OfType<string>(), .. strays.Select(process => $"process {process} outlived its node")];
    }

    public async ValueTask DisposeAsync()
    {
        foreach (NodeProcess node in All)
        {
            await node.KillAsync().ConfigureAwait(false);
            await node.Relay.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Finds two adjacent free ports that no other node of this run has.</summary>
    /// <returns>The first of them.</returns>
    private int FindPort()
    {
        lock (gate)
        {
            int port;
            do
            {
                port = FreePort.Find();
            }
            while (ports.Exists(other => Math.Abs(other - port) < 2));
            ports.Add(port);
            return port;
        }
    }
}
