using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Orleans.Configuration;

namespace StellaInterop.Cluster.Membership;

/// <summary>Represents the addresses of a node.</summary>
/// <param name="Advertised">The IP address that the node tells others.</param>
/// <param name="SiloPort">The port for other nodes.</param>
/// <param name="GatewayPort">The port for clients.</param>
internal sealed record NodeEndpoints(IPAddress Advertised, int SiloPort, int GatewayPort)
{
    /// <summary>
    /// Gets the IP address that the node listens on: the advertised one, or all addresses of the host if the advertised one is not among them, as in a container.
    /// </summary>
    public IPAddress Listening =>
        IPAddress.IsLoopback(Advertised) || HostAddresses().Contains(Advertised) ? Advertised
        : Advertised.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any;

    /// <summary>Returns the first IPv4 address of this host that other hosts may reach, or else the loopback address.</summary>
    public static IPAddress FindHostAddress() =>
        HostAddresses().FirstOrDefault(address => address.AddressFamily == AddressFamily.InterNetwork && !IPAddress.IsLoopback(address), IPAddress.Loopback);

    /// <summary>Copies the addresses to the options of Orleans.</summary>
    public void Set(EndpointOptions options)
    {
        IPAddress listening = Listening;
        options.AdvertisedIPAddress = Advertised;
        (options.SiloPort, options.GatewayPort) = (SiloPort, GatewayPort);
        options.SiloListeningEndpoint = new IPEndPoint(listening, SiloPort);
        options.GatewayListeningEndpoint = new IPEndPoint(listening, GatewayPort);
    }

    /// <summary>Lists the addresses of the network interfaces in use, those with a way to other networks first.</summary>
    private static IEnumerable<IPAddress> HostAddresses() =>
        NetworkInterface.GetAllNetworkInterfaces()
            .Where(network => network.OperationalStatus == OperationalStatus.Up)
            .Select(network => network.GetIPProperties())
            .OrderByDescending(properties => properties.GatewayAddresses.Count > 0)
            .SelectMany(properties => properties.UnicastAddresses.Select(address => address.Address));
}
