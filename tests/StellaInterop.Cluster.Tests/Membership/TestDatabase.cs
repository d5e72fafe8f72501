using Npgsql;

namespace StellaInterop.Cluster.Tests.Membership;

/// <summary>Represents a database of its own on the server that STELLA_POSTGRES names.</summary>
internal sealed class TestDatabase : IAsyncDisposable
{
    private readonly NpgsqlConnectionStringBuilder settings = new(Server) { Pooling = false };

    private TestDatabase(string name) => Name = name;

    public static string? Server => Environment.GetEnvironmentVariable("STELLA_POSTGRES");

    public string Name { get; }

    public string Address => AddressOf(settings.Username!, settings.Password!);

    public static async Task<TestDatabase> CreateAsync()
    {
        var database = new TestDatabase($"stella_{Guid.NewGuid():N}");
        await ExecuteAsync(new NpgsqlConnectionStringBuilder(Server) { Pooling = false }.ConnectionString, $"CREATE DATABASE {database.Name}");
        return database;
    }

    public string AddressOf(string user, string password) =>
        $"postgres://{Uri.EscapeDataString(user)}:{Uri.EscapeDataString(password)}@{settings.Host}:{settings.Port}/{Name}";

    public Task ExecuteAsync(string sql) => ExecuteAsync(new NpgsqlConnectionStringBuilder(settings.ConnectionString) { Database = Name }.ConnectionString, sql);

    public async ValueTask DisposeAsync() => await ExecuteAsync(settings.ConnectionString, $"DROP DATABASE {Name} WITH (FORCE)");

    private static async Task ExecuteAsync(string connectionString, string sql)
    {
        await using var source = NpgsqlDataSource.Create(connectionString);
        await using NpgsqlCommand command = source.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }
}
