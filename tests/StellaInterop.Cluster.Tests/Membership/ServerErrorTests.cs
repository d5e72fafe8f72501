using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Tests.Membership;

internal sealed class ServerErrorTests
{
    [TestCase("postgres://stella:secret@127.0.0.1:{0}/jobs", "PostgreSQL at postgres://127.0.0.1:{0}/jobs cannot be reached")]
    [TestCase("postgres://stella:secret@missing.invalid/jobs", "PostgreSQL at postgres://missing.invalid:5432/jobs cannot be reached")]
    [TestCase("redis://:secret@127.0.0.1:{0}", "Redis at redis://127.0.0.1:{0}/0 does not answer")]
    public void A_server_that_cannot_be_reached_is_an_error_with_a_remedy(string address, string message)
    {
        int port = FreePort.Find();
        Assert.That(
            () => ClusterTables.CreateAsync(ClusterAddress.Parse(string.Format(address, port)), default),
            Throws.TypeOf<ClusterException>().With.Message.Contains(string.Format(message, port)).And.Message.Contains("Start the server, or correct the cluster address.").And.Message.Not.Contains("secret"));
    }
}
