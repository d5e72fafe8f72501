using System.Net;
using System.Net.Sockets;

namespace StellaInterop.Cluster.Tests.Membership;

internal static class FreePort
{
    /// <summary>Finds the first of some adjacent free ports, below those that the system gives to clients.</summary>
    public static int Find()
    {
        while (true)
        {
            int port = Random.Shared.Next(20000, 32000);
            if (Enumerable.Range(port, 8).All(IsFree))
            {
                return port;
            }
        }
    }

    private static bool IsFree(int port)
    {
        using var tcp = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ExclusiveAddressUse = true };
        using var udp = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ExclusiveAddressUse = true };
        try
        {
            tcp.Bind(new IPEndPoint(IPAddress.Any, port));
            udp.Bind(new IPEndPoint(IPAddress.Any, port));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
