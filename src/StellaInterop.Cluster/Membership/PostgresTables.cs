using System.Data.Common;
using System.Net.Sockets;
using Npgsql;
using StellaInterop.Cluster.Errors;

namespace StellaInterop.Cluster.Membership;

/// <summary>Creates the tables of Orleans in PostgreSQL, with the scripts of Orleans.</summary>
internal sealed class PostgresTables(PostgresStore store)
{
    /// <summary>The key of the lock that a node holds while it creates tables: "stella" in ASCII.</summary>
    private const long LockKey = 0x7374656C6C61;

    /// <summary>
    /// Looks for a table in the catalogue. The function <c>to_regclass</c> answers from a cache, which lacks tables that another node creates while this node
    /// waits for the lock.
    /// </summary>
    private const string IsMissing =
        "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = $1 AND pg_catalog.pg_table_is_visible(oid))";

    /// <summary>A table that each script creates, in the order of the scripts.</summary>
    private static readonly (string Table, string Script)[] Scripts =
    [
        ("orleansquery", "PostgreSQL-Main.sql"),
        ("orleansmembershiptable", "PostgreSQL-Clustering.sql"),
        ("orleansstorage", "PostgreSQL-Persistence.sql"),
    ];

    private readonly NpgsqlConnectionStringBuilder settings = new(store.ConnectionString);

    /// <summary>The user of the connection, which may come from the environment.</summary>
    private string user = "";

    /// <summary>Creates the tables that are missing, all or none. Several nodes may do so at once.</summary>
    /// <exception cref="ClusterException">The server does not answer, or refuses.</exception>
    public async Task CreateAsync(CancellationToken cancellationToken)
    {
        try
        {
            NpgsqlDataSource source = NpgsqlDataSource.Create(store.ConnectionString);
            await using (source.ConfigureAwait(false))
            {
                NpgsqlConnection connection = await source.OpenConnectionAsync(cancellationToken).ConfigureAwait(false);
                await using (connection.ConfigureAwait(false))
                {
                    user = await FindUserAsync(connection, cancellationToken).ConfigureAwait(false);
                    await CreateMissingAsync(connection, cancellationToken).ConfigureAwait(false);
                }
            }
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.InsufficientPrivilege)
        {
            throw Refused(e);
        }
        catch (Exception e) when (e is DbException or SocketException or TimeoutException)
        {
            throw new ClusterException($"PostgreSQL at {store.Shown} {Fault(e)}", e);
        }
    }

    private static async Task CreateMissingAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        // A user without the right to create tables can use those that are there, so look first.
        if (await FindMissingAsync(connection, cancellationToken).ConfigureAwait(false) is [])
        {
            return;
        }

        NpgsqlTransaction transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
        await using (transaction.ConfigureAwait(false))
        {
            await RunAsync(connection, $"SELECT pg_advisory_xact_lock({LockKey})", cancellationToken).ConfigureAwait(false);

            // Another node may have created the tables while this node waited for the lock.
            foreach (string script in await FindMissingAsync(connection, cancellationToken).ConfigureAwait(false))
            {
                await RunAsync(connection, Read(script), cancellationToken).ConfigureAwait(false);
            }

            await transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <returns>The scripts that have not run.</returns>
    private static async Task<List<string>> FindMissingAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        var missing = new List<string>();
        foreach ((string table, string script) in Scripts)
        {
            var command = new NpgsqlCommand(IsMissing, connection) { Parameters = { new() { Value = table } } };
            await using (command.ConfigureAwait(false))
            {
                if (await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is true)
                {
                    missing.Add(script);
                }
            }
        }

        return missing;
    }

    private static async Task<string> FindUserAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        var command = new NpgsqlCommand("SELECT current_user::text", connection);
        await using (command.ConfigureAwait(false))
        {
            return (string)(await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false))!;
        }
    }

    private static async Task RunAsync(NpgsqlConnection connection, string sql, CancellationToken cancellationToken)
    {
#pragma warning disable CA2100 // The SQL is that of this file and its scripts.
        var command = new NpgsqlCommand(sql, connection);
#pragma warning restore CA2100
        await using (command.ConfigureAwait(false))
        {
            await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private static string Read(string script)
    {
        using Stream stream = typeof(PostgresTables).Assembly.GetManifestResourceStream(script)!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    /// <summary>Writes the scripts to a file for a person who may create tables.</summary>
    private ClusterException Refused(PostgresException cause)
    {
        string file = Path.Combine(StateFolder.Path, "postgresql-tables.sql");
        string quoted = $"\"{user.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
        string grants = $"GRANT SELECT ON orleansquery TO {quoted};\n"
            + $"GRANT SELECT, INSERT, UPDATE, DELETE ON orleansmembershipversiontable, orleansmembershiptable, orleansstorage TO {quoted};\n";
        string fault = $"The user {quoted} may not create or use the tables of the cluster at {store.Shown} ({cause.MessageText})";
        try
        {
            StateFolder.Create(StateFolder.Path);
            File.WriteAllText(file, string.Concat(Scripts.Select(script => Read(script.Script) + "\n")) + grants);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new ClusterException($"{fault}. Start a node with a user who may, once, and grant the tables to {quoted}.", cause);
        }

        return new ClusterException($"{fault}. Let a user who may create tables run the script {file} once: psql -1 -h {settings.Host} -p {settings.Port} -f {file} {settings.Database}", cause);
    }

    private string Fault(Exception error) => error switch
    {
        PostgresException { SqlState: PostgresErrorCodes.InvalidPassword or PostgresErrorCodes.InvalidAuthorizationSpecification } refusal =>
            $"refused the user '{settings.Username}': {refusal.MessageText}. Correct the user or the password in the cluster address.",
        PostgresException { SqlState: PostgresErrorCodes.InvalidCatalogName } =>
            $"has no database '{settings.Database}'. Create it with: createdb {settings.Database}",
        PostgresException refusal => $"answered {refusal.SqlState}: {refusal.MessageText}. Look into the log of the server.",
        NpgsqlException { InnerException: null } => $"refused the connection: {error.Message.TrimEnd('.')}. Correct the cluster address.",
        _ => $"cannot be reached: {(error.InnerException ?? error).Message.TrimEnd('.')}. Start the server, or correct the cluster address.",
    };
}
