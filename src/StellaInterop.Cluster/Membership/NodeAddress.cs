using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using StellaInterop.Cluster.Errors;

namespace StellaInterop.Cluster.Membership;

/// <summary>Represents the address under which other nodes reach a node.</summary>
/// <param name="Host">The name or the IP address of the host, without brackets.</param>
/// <param name="Port">The port of the node, whose gateway has the next one; <see langword="null"/> for any.</param>
internal sealed partial record NodeAddress(string Host, int? Port)
{
    /// <summary>Parses <c>HOST</c> or <c>HOST:PORT</c>. An IPv6 address with a port is in brackets.</summary>
    /// <exception cref="ArgumentException">The address is not valid. The message says why, and gives examples.</exception>
    public static NodeAddress Parse(string value)
    {
        try
        {
            if (IPAddress.TryParse(value, out IPAddress? address) && value.Contains(':', StringComparison.Ordinal) && value[0] != '[')
            {
                return new NodeAddress($"{address}", null);
            }

            return Pattern().Match(value) is { Success: true } match && Uri.CheckHostName(match.Groups["host"].Value) != UriHostNameType.Unknown
                ? new NodeAddress(match.Groups["host"].Value, match.Groups["port"] is { Success: true } port ? ClusterAddress.ParsePort(port.Value) : null)
                : throw new FormatException("it is not a host");
        }
        catch (FormatException e)
        {
            throw new ArgumentException(
                Printable.Line($"The address '{value}' of a node is not valid: {e.Message}. Give '10.0.0.5', 'node5.example.org:11111', or '[2001:db8::5]:11111'."), e);
        }
    }

    public override string ToString() => $"{(Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]" : Host)}{(Port is null ? "" : $":{Port}")}";

    /// <summary>Returns the IP address of the host. Nodes tell each other IP addresses, so a name is resolved once.</summary>
    /// <exception cref="ClusterException">The name has no address.</exception>
    public async Task<IPAddress> ResolveAsync(CancellationToken cancellationToken)
    {
        try
        {
            IPAddress[] addresses = await Dns.GetHostAddressesAsync(Host, cancellationToken).ConfigureAwait(false);
            return addresses.FirstOrDefault(address => address.AddressFamily == AddressFamily.InterNetwork) ?? addresses[0];
        }
        catch (SocketException e)
        {
            throw new ClusterException($"The host '{Host}' of the node has no address: {e.Message.TrimEnd('.')}. Give an IP address, or correct the name.", e);
        }
    }

    [GeneratedRegex(@"\A(\[(?<host>[^\[\]]+)\]|(?<host>[^:\[\]]+))(:(?<port>.*))?\z", RegexOptions.ExplicitCapture | RegexOptions.Singleline)]
    private static partial Regex Pattern();
}
