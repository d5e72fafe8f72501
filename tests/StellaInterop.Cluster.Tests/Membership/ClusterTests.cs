using Npgsql;
using StackExchange.Redis;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Tests.Membership;

/// <summary>
/// Tests two nodes and a client with each store. PostgreSQL is included if STELLA_POSTGRES is the connection string of a server, and Redis if
/// STELLA_REDIS is the address of a server.
/// </summary>
[TestFixtureSource(nameof(Stores))]
internal sealed class ClusterTests(string kind)
{
    private TestDatabase? database;
    private ClusterAddress address = null!;

    public static IEnumerable<string> Stores()
    {
        yield return "localhost";
        if (TestDatabase.Server is not null)
        {
            yield return "PostgreSQL";
        }

        if (Redis is not null)
        {
            yield return "Redis";
        }
    }

    private static string? Redis => Environment.GetEnvironmentVariable("STELLA_REDIS");

    [OneTimeSetUp]
    public async Task PrepareAsync()
    {
        database = kind == "PostgreSQL" ? await TestDatabase.CreateAsync() : null;
        address = ClusterAddress.Parse(database is not null ? database.Address : kind == "Redis" ? Redis! : $"localhost:{FreePort.Find()}");
        await ClusterTables.CreateAsync(address, default);
    }

    [OneTimeTearDown]
    public async Task DropAsync()
    {
        if (database is not null)
        {
            await database.DisposeAsync();
        }
    }

    [Test]
    public async Task Two_nodes_and_a_client_find_each_other_and_share_a_state()
    {
        string name = $"{Guid.NewGuid()}";
        await using (var cluster = new TestCluster(address))
        {
            NodeEndpoints first = await cluster.StartNodeAsync();
            NodeEndpoints second = await cluster.StartNodeAsync();
            IClusterClient client = await cluster.StartClientAsync();
            ITallyGrain tally = client.GetGrain<ITallyGrain>(name);
            Assert.That(await tally.AddAsync(), Is.EqualTo(1));
            Assert.That(await tally.IsOldStateRefusedAsync(), Is.True);
            await tally.DeactivateAsync();
            Assert.That(await tally.AddAsync(), Is.EqualTo(4));
            string[] silos = await Task.WhenAll(Enumerable.Range(0, 50).Select(i => client.GetGrain<ITallyGrain>($"{name}-{i}").FindSiloAsync()));
            Assert.That(silos.Distinct(), Is.EquivalentTo(new[] { $"127.0.0.1:{first.SiloPort}", $"127.0.0.1:{second.SiloPort}" }));
        }

        await using (var cluster = new TestCluster(address))
        {
            await cluster.StartNodeAsync();
            IClusterClient client = await cluster.StartClientAsync();
            ITallyGrain tally = client.GetGrain<ITallyGrain>(name);
            Assert.That(await tally.AddAsync(), Is.EqualTo(5), "the state outlives the nodes");
            await tally.ClearAsync();
            Assert.That(await tally.AddAsync(), Is.EqualTo(1));
            await tally.ClearAsync();
        }
    }
}
