using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Membership;
using StellaInterop.Tests;

namespace StellaInterop.Cluster.Tests.Membership;

internal sealed class ClusterTlsTests
{
    private TemporaryFolder folder = null!;
    private TestAuthority authority = null!;

    [SetUp]
    public void Create()
    {
        folder = new TemporaryFolder();
        authority = new TestAuthority(folder, "authority");
    }

    [TearDown]
    public void Delete()
    {
        authority.Dispose();
        folder.Dispose();
    }

    [Test]
    public async Task Nodes_and_clients_with_certificates_of_the_authority_talk_and_others_do_not()
    {
        using var other = new TestAuthority(folder, "other");
        await using var cluster = new TestCluster(ClusterAddress.Parse($"localhost:{FreePort.Find()}"));
        NodeEndpoints[] nodes =
        [
            await cluster.StartNodeAsync(Sign(authority, "first")),
            await cluster.StartNodeAsync(Sign(authority, "second", 30, TestAuthority.Server, TestAuthority.Client)),
        ];
        IClusterClient client = await cluster.StartClientAsync(InOneFile(Sign(authority, "client")));
        string[] silos = await Task.WhenAll(Enumerable.Range(0, 50).Select(i => client.GetGrain<ITallyGrain>($"{i}").FindSiloAsync()));
        Assert.That(silos.Distinct(), Is.EquivalentTo(nodes.Select(node => $"127.0.0.1:{node.SiloPort}")));

        foreach ((ClusterTls? tls, string reason) in new (ClusterTls?, string)[]
        {
            (null, "no TLS"),
            (Sign(other, "stranger"), "neither side knows the authority of the other"),
            (Sign(other, "stranger") with { AuthorityFile = Both(other) }, "the nodes do not know the authority of the client"),
        })
        {
            Assert.That(() => cluster.StartClientAsync(tls), Throws.TypeOf<ClusterException>().With.Message.Contains("No node of localhost"), reason);
        }

        Assert.That(await client.GetGrain<ITallyGrain>("1").FindSiloAsync(), Is.Not.Empty);
    }

    [Test]
    public void A_certificate_of_another_authority_is_refused_at_the_start()
    {
        using var other = new TestAuthority(folder, "other");
        Refuses(Sign(authority, "node") with { AuthorityFile = other.AuthorityFile }, "is refused by the authority");
    }

    [Test]
    public void An_expired_certificate_is_refused_at_the_start() => Refuses(Sign(authority, "node", days: 1), "is refused by the authority");

    [TestCase(TestAuthority.Server)]
    [TestCase(TestAuthority.Client)]
    public void A_certificate_for_one_side_alone_is_refused_at_the_start(string purpose) =>
        Refuses(Sign(authority, "node", 30, purpose), "is not for both server and client authentication");

    [Test]
    public void A_file_that_is_missing_or_not_in_PEM_is_named()
    {
        string other = folder.File("other.pem");
        ClusterTls tls = Sign(authority, "node");
        Refuses(tls with { CertificateFile = other }, other);
        Refuses(tls with { KeyFile = other }, other);
        Refuses(tls with { AuthorityFile = other }, other);
        File.WriteAllText(other, "text");
        Refuses(tls with { CertificateFile = other }, other);
        Refuses(tls with { KeyFile = other }, other);
        Refuses(tls with { AuthorityFile = other }, "has no certificate");
        Refuses(tls with { KeyFile = null }, "cannot be used");
    }

    private static void Refuses(ClusterTls tls, string message) =>
        Assert.That(
            () => new TestCluster(ClusterAddress.Parse($"localhost:{FreePort.Find()}")).StartClientAsync(tls),
            Throws.TypeOf<ClusterException>().With.Message.Contains(message));

    private static ClusterTls Sign(TestAuthority authority, string node, int days = 30, params string[] purposes)
    {
        (string certificate, string key) = authority.Sign(node, days, purposes);
        return new ClusterTls(certificate, key, authority.AuthorityFile);
    }

    private static ClusterTls InOneFile(ClusterTls tls)
    {
        File.AppendAllText(tls.CertificateFile, "\n" + File.ReadAllText(tls.KeyFile!));
        return tls with { KeyFile = null };
    }

    private string Both(TestAuthority other)
    {
        string file = folder.File("both.pem");
        File.WriteAllText(file, File.ReadAllText(authority.AuthorityFile) + "\n" + File.ReadAllText(other.AuthorityFile));
        return file;
    }
}
