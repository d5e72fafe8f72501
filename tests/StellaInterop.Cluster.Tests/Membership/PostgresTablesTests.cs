using System.Net;
using System.Net.Sockets;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Tests.Membership;

/// <summary>Tests the tables on the server that STELLA_POSTGRES names.</summary>
[TestFixtureSource(nameof(Servers))]
internal sealed class PostgresTablesTests(string server)
{
    private TestDatabase database = null!;

    public static IEnumerable<string> Servers() => TestDatabase.Server is { } server ? [server] : [];

    [SetUp]
    public async Task CreateAsync() => database = await TestDatabase.CreateAsync();

    [TearDown]
    public async Task DropAsync() => await database.DisposeAsync();

    [Test]
    public async Task Nodes_that_start_at_once_create_the_tables_once()
    {
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => PrepareAsync(database.Address)));
        await PrepareAsync(database.Address);
        await database.ExecuteAsync("SELECT 1 / (count(*) = 13)::int FROM orleansquery");
    }

    [Test]
    public async Task A_missing_script_is_run_alone()
    {
        await PrepareAsync(database.Address);
        await database.ExecuteAsync("DROP TABLE orleansstorage; DELETE FROM orleansquery WHERE querykey LIKE '%Storage%'");
        await PrepareAsync(database.Address);
        await database.ExecuteAsync("SELECT count(*) FROM orleansstorage");
    }

    [Test]
    public async Task A_user_who_may_not_create_tables_gets_a_script_for_one_who_may()
    {
        string user = $"{database.Name}_user";
        await database.ExecuteAsync($"CREATE USER {user} PASSWORD 'secret'; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
        try
        {
            string address = database.AddressOf(user, "secret");
            string file = Path.Combine(StateFolder.Path, "postgresql-tables.sql");
            Assert.That(
                () => PrepareAsync(address),
                Throws.TypeOf<ClusterException>().With.Message.Contains(user).And.Message.Contains($"psql -1 -f {file}").And.Message.Not.Contains("secret"));
            await database.ExecuteAsync(await File.ReadAllTextAsync(file));
            await PrepareAsync(address);
            await using var cluster = new TestCluster(ClusterAddress.Parse(address));
            await cluster.StartNodeAsync();
            IClusterClient client = await cluster.StartClientAsync();
            Assert.That(await client.GetGrain<ITallyGrain>("tally").AddAsync(), Is.EqualTo(1), "the granted rights suffice");
        }
        finally
        {
            await database.ExecuteAsync($"DROP OWNED BY {user}; DROP USER {user}");
        }
    }

    [Test]
    public void A_wrong_password_and_a_missing_database_are_errors_with_a_remedy()
    {
        Assert.That(server, Is.Not.Empty);
        Assert.That(
            () => PrepareAsync(database.AddressOf("nobody", "secret")),
            Throws.TypeOf<ClusterException>().With.Message.Contains("refused the user 'nobody'").And.Message.Contains("Correct the user").And.Message.Not.Contains("secret"));
        Assert.That(
            () => PrepareAsync(database.Address.Replace(database.Name, "missing", StringComparison.Ordinal)),
            Throws.TypeOf<ClusterException>().With.Message.Contains("has no database 'missing'. Create it with: createdb missing"));
    }

    private static Task PrepareAsync(string address) => ClusterTables.CreateAsync(ClusterAddress.Parse(address), default);
}
