using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Tests.Membership;

internal sealed class ConnectionRetriesTests
{
    [Test]
    public async Task A_client_without_a_node_gives_up_with_a_remedy()
    {
        int port = FreePort.Find();
        await using var cluster = new TestCluster(ClusterAddress.Parse($"localhost:{port}"));
        Assert.That(
            () => cluster.StartClientAsync(),
            Throws.TypeOf<ClusterException>().With.Message.Contains($"No node of localhost:{port} answers").And.Message.Contains("Start a node with 'stella node --cluster'"));
    }
}
