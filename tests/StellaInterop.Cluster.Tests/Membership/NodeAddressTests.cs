using System.Net;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Tests.Membership;

internal sealed class NodeAddressTests
{
    [TestCase("10.0.0.5", "10.0.0.5", null, "10.0.0.5")]
    [TestCase("node5.example.org:11113", "node5.example.org", 11113, "node5.example.org:11113")]
    [TestCase("[2001:db8::5]:11113", "2001:db8::5", 11113, "[2001:db8::5]:11113")]
    [TestCase("[2001:db8::5]", "2001:db8::5", null, "[2001:db8::5]")]
    [TestCase("2001:db8::5", "2001:db8::5", null, "[2001:db8::5]")]
    public void An_address_has_a_host_and_perhaps_a_port(string address, string host, int? port, string shown)
    {
        NodeAddress parsed = NodeAddress.Parse(address);
        Assert.That((parsed.Host, parsed.Port, $"{parsed}"), Is.EqualTo((host, port, shown)));
    }

    [TestCase("", "it is not a host")]
    [TestCase(":11111", "it is not a host")]
    [TestCase("a b", "it is not a host")]
    [TestCase("[::1", "it is not a host")]
    [TestCase("host:", "'' is not a port")]
    [TestCase("host:65535", "'65535' is not a port from 1 to 65534")]
    public void A_wrong_address_is_refused_with_the_reason_and_examples(string address, string reason) =>
        Assert.That(() => NodeAddress.Parse(address), Throws.ArgumentException.With.Message.Contains(reason).And.Message.Contains("node5.example.org:11111"));

    [Test]
    public async Task A_name_is_resolved_to_an_IPv4_address_if_it_has_one() =>
        Assert.That(await NodeAddress.Parse("localhost").ResolveAsync(default), Is.EqualTo(IPAddress.Loopback));

    [Test]
    public void A_name_without_an_address_is_an_error_with_a_remedy() =>
        Assert.That(
            () => NodeAddress.Parse("missing.invalid").ResolveAsync(default),
            Throws.TypeOf<ClusterException>().With.Message.Contains("'missing.invalid'").And.Message.Contains("Give an IP address"));
}
