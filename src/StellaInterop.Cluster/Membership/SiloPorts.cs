using System.Net;
using System.Net.Sockets;
using StellaInterop.Cluster.Errors;

namespace StellaInterop.Cluster.Membership;

/// <summary>Holds the two ports of a node until it is disposed, so that no other node takes them.</summary>
/// <remarks>
/// Orleans listens with <c>SO_REUSEADDR</c>, which the runtime implements with <c>SO_REUSEPORT</c> on Linux: a second process could listen on the same
/// port without an error, and each would get some of the connections. The claim is a UDP socket with the same port number, which one process has.
/// </remarks>
internal sealed class SiloPorts : IDisposable
{
    /// <summary>The first port that is tried.</summary>
    public const int Default = 11111;

    /// <summary>The number of port pairs that are tried.</summary>
    private const int Attempts = 1000;

    private readonly List<Socket> claims = [];

    private SiloPorts(NodeEndpoints endpoints) => Endpoints = endpoints;

    private enum PortState
    {
        Free,
        Claimed,
        InUse,
    }

    /// <summary>Gets the addresses of the node.</summary>
    public NodeEndpoints Endpoints { get; }

    /// <summary>Claims the ports of a node.</summary>
    /// <param name="address">The address of the cluster. The first node of localhost gets the port in the address.</param>
    /// <param name="advertised">The address that the node tells others; <see langword="null"/> to choose it.</param>
    /// <param name="cancellationToken">Cancels the resolution of a name.</param>
    /// <exception cref="ClusterException">The ports are in use, or the host has no address.</exception>
    public static async Task<SiloPorts> ClaimAsync(ClusterAddress address, NodeAddress? advertised, CancellationToken cancellationToken)
    {
        if (address.Store is LocalhostStore local)
        {
            return advertised is null
                ? ClaimLocal(local)
                : throw new ClusterException($"A node of {address} has the address 127.0.0.1, so it cannot advertise {advertised}. Leave out the address.");
        }

        IPAddress host = advertised is null ? NodeEndpoints.FindHostAddress() : await advertised.ResolveAsync(cancellationToken).ConfigureAwait(false);
        return advertised?.Port is not int port ? ClaimFree(host, Default)
            : TryClaim(host, port, out SiloPorts? claimed) == PortState.Free ? claimed!
            : throw new ClusterException($"Port {port} or {port + 1} is in use on this host. Advertise another port.");
    }

    public void Dispose()
    {
        foreach (Socket claim in claims)
        {
            claim.Dispose();
        }
    }

    private static SiloPorts ClaimLocal(LocalhostStore local) => TryClaim(IPAddress.Loopback, local.Port, out SiloPorts? first) switch
    {
        PortState.Free => first!,
        PortState.Claimed => ClaimFree(IPAddress.Loopback, local.Port + 2),
        _ => throw new ClusterException(
            $"Port {local.Port} or {local.Port + 1} is in use by another program, so no node can be the first of {local.Shown}. Give another port, as in localhost:{(local.Port < 60000 ? local.Port + 1000 : Default)}."),
    };

    private static SiloPorts ClaimFree(IPAddress host, int first)
    {
        int last = Math.Min(first + (2 * Attempts), ushort.MaxValue);
        for (int port = first; port < last; port += 2)
        {
            if (TryClaim(host, port, out SiloPorts? claimed) == PortState.Free)
            {
                return claimed!;
            }
        }

        throw new ClusterException($"No two adjacent ports from {first} to {last} are free on this host. End the programs that use them, or advertise another port.");
    }

    /// <summary>Claims a port for other nodes, and the next one for clients.</summary>
    /// <returns><see cref="PortState.Claimed"/> if a node has the port, and <see cref="PortState.InUse"/> if another program listens on one of the two.</returns>
    private static PortState TryClaim(IPAddress host, int port, out SiloPorts? ports)
    {
        ports = new SiloPorts(new NodeEndpoints(host, port, port + 1));
        PortState state = !ports.TryClaim(port) ? PortState.Claimed
            : !ports.TryClaim(port + 1) || !IsFree(port) || !IsFree(port + 1) ? PortState.InUse
            : PortState.Free;
        if (state != PortState.Free)
        {
            ports.Dispose();
            ports = null;
        }

        return state;
    }

    private static bool IsFree(int port)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        return TryBind(socket, port);
    }

    private static bool TryBind(Socket socket, int port)
    {
        try
        {
            socket.ExclusiveAddressUse = true;
            socket.Bind(new IPEndPoint(IPAddress.Any, port));
            return true;
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.AddressAlreadyInUse or SocketError.AccessDenied)
        {
            // Windows denies access to a port that another socket has exclusively.
            return false;
        }
    }

    private bool TryClaim(int port)
    {
        var claim = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        claims.Add(claim);
        return TryBind(claim, port);
    }
}
