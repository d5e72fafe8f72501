using System.Net;
using System.Net.Sockets;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Tests.Membership;

internal sealed class SiloPortsTests
{
    private static readonly ClusterAddress Redis = ClusterAddress.Parse("redis://cache.example.org");

    [Test]
    public async Task The_first_node_of_localhost_has_its_port_and_others_have_the_next_ones()
    {
        int port = FreePort.Find();
        ClusterAddress address = ClusterAddress.Parse($"localhost:{port}");
        SiloPorts first = await ClaimAsync(address);
        using SiloPorts second = await ClaimAsync(address);
        using SiloPorts third = await ClaimAsync(address);
        Assert.That(
            new[] { first.Endpoints, second.Endpoints, third.Endpoints },
            Is.EqualTo(new[] { 0, 2, 4 }.Select(offset => new NodeEndpoints(IPAddress.Loopback, port + offset, port + offset + 1))));
        first.Dispose();
        using SiloPorts again = await ClaimAsync(address);
        Assert.That(again.Endpoints.SiloPort, Is.EqualTo(port));
    }

    [Test]
    public async Task A_claimed_port_cannot_be_advertised()
    {
        NodeAddress advertised = new("127.0.0.1", FreePort.Find());
        using SiloPorts first = await SiloPorts.ClaimAsync(Redis, advertised, default);
        Assert.That(first.Endpoints, Is.EqualTo(new NodeEndpoints(IPAddress.Loopback, advertised.Port!.Value, advertised.Port.Value + 1)));
        Assert.That(
            () => SiloPorts.ClaimAsync(Redis, advertised, default),
            Throws.TypeOf<ClusterException>().With.Message.EqualTo($"Port {advertised.Port} or {advertised.Port + 1} is in use on this host. Advertise another port."));
    }

    [Test]
    public async Task A_node_finds_two_ports_of_its_own()
    {
        using SiloPorts first = await ClaimAsync(Redis);
        using SiloPorts second = await ClaimAsync(Redis);
        Assert.That(first.Endpoints.SiloPort, Is.GreaterThanOrEqualTo(SiloPorts.Default));
        Assert.That(second.Endpoints.SiloPort, Is.GreaterThan(first.Endpoints.GatewayPort));
        Assert.That(second.Endpoints.Advertised.AddressFamily, Is.EqualTo(AddressFamily.InterNetwork));
    }

    [TestCase(0)]
    [TestCase(1)]
    public void Ports_on_which_another_program_listens_are_not_taken(int offset)
    {
        int port = FreePort.Find();
        using var other = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        other.Bind(new IPEndPoint(IPAddress.Loopback, port + offset));
        other.Listen();
        Assert.That(
            () => ClaimAsync(ClusterAddress.Parse($"localhost:{port}")),
            Throws.TypeOf<ClusterException>().With.Message.Contains($"Port {port} or {port + 1} is in use by another program").And.Message.Contains($"localhost:{port + 1000}"));
        Assert.That(() => SiloPorts.ClaimAsync(Redis, new NodeAddress("127.0.0.1", port), default), Throws.TypeOf<ClusterException>());
    }

    [Test]
    public void A_node_of_localhost_advertises_no_other_address() =>
        Assert.That(
            () => SiloPorts.ClaimAsync(ClusterAddress.Parse("localhost"), new NodeAddress("10.0.0.5", null), default),
            Throws.TypeOf<ClusterException>().With.Message.Contains("Leave out the address"));

    [TestCase("127.0.0.1", "127.0.0.1")]
    [TestCase("192.0.2.1", "0.0.0.0")]
    [TestCase("2001:db8::5", "::")]
    public void A_node_whose_address_is_not_of_its_host_listens_on_all_addresses(string advertised, string listening) =>
        Assert.That(new NodeEndpoints(IPAddress.Parse(advertised), 1, 2).Listening, Is.EqualTo(IPAddress.Parse(listening)));

    [Test]
    public void A_node_listens_on_its_address_alone()
    {
        IPAddress host = NodeEndpoints.FindHostAddress();
        Assert.That(new NodeEndpoints(host, 1, 2).Listening, Is.EqualTo(host));
    }

    private static Task<SiloPorts> ClaimAsync(ClusterAddress address) => SiloPorts.ClaimAsync(address, null, default);
}
