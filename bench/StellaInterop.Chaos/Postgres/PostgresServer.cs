using System.Diagnostics;
using System.Globalization;
using System.Net;
using Npgsql;
using StellaInterop.Bench.Sources;
using StellaInterop.Bench.Terminal;
using StellaInterop.Chaos.Machine;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Chaos.Postgres;

/// <summary>The PostgreSQL server of a run: a new database on that of <c>STELLA_POSTGRES</c>, or a temporary server of the script that installs it.</summary>
internal sealed class PostgresServer : IAsyncDisposable
{
    private const string Variable = "STELLA_POSTGRES";
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(30);

    private readonly Process? script;
    private readonly NpgsqlConnectionStringBuilder server;
    private readonly string database;

    private PostgresServer(NpgsqlConnectionStringBuilder server, string database, Process? script)
    {
        this.server = server;
        this.database = database;
        this.script = script;
    }

    public string Host => server.Host!;

    public int Port => server.Port;

    /// <summary>Gets whether the server can be stopped: it is that of the script.</summary>
    public bool CanStop => script is not null;

    private static string Script => Path.Combine(SourceTree.Root, "samples/FolderSearch/pgvector.sh");

    private static string Folder => Path.Combine(SourceTree.Root, "artifacts/pgvector");

    /// <summary>Starts the server, after its installation at the first time.</summary>
    /// <exception cref="BenchException">The server did not start. Standard error has the reason.</exception>
    public static async Task<PostgresServer> StartAsync(CancellationToken cancellationToken)
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } own)
        {
            // The tables and jobs of other runs stay out of this one, and its own go with the database.
            var created = new PostgresServer(Parse(own), $"stella_chaos_{Guid.NewGuid():N}", script: null);
            await created.ExecuteAsync($"CREATE DATABASE {created.database}").ConfigureAwait(false);
            return created;
        }

        // The command of the script says the address, and ends when its input does: at the end of this process, whatever ends it. In a session of its
        // own, the server outlives a Ctrl-C until the nodes have ended.
        string[] command = [Script, Folder, "sh", "-c", $"echo \"${Variable}\"; exec cat >/dev/null"];
        Process script = Process.Start(new ProcessStartInfo("setsid", command) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        try
        {
            string? connection = await script.StandardOutput.ReadLineAsync(cancellationToken).ConfigureAwait(false);
            if (connection is null)
            {
                await script.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
                throw new BenchException($"PostgreSQL did not start: `{Script}` ended with {script.ExitCode}. Its message is above.");
            }

            NpgsqlConnectionStringBuilder server = Parse(connection);
            return new PostgresServer(server, server.Database!, script);
        }
        catch (OperationCanceledException)
        {
            // An installation that runs is ended as well.
            _ = await Shell.TryAsync("kill", "-TERM", "--", string.Create(CultureInfo.InvariantCulture, $"-{script.Id}")).ConfigureAwait(false);
            await EndAsync(script).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Returns the address of the cluster.</summary>
    /// <param name="relay">The relay of a node; <see langword="null"/> for the server itself.</param>
    public string AddressVia(IPEndPoint? relay)
    {
        string host = relay is null ? string.Create(CultureInfo.InvariantCulture, $"{Host}:{Port}") : relay.ToString();
        return $"postgres://{Uri.EscapeDataString(server.Username!)}:{Uri.EscapeDataString(server.Password ?? "")}@{host}/{database}";
    }

    /// <summary>Ends all processes of the server at once.</summary>
    public static Task StopAsync() => Shell.RunAsync(Script, "--stop", Folder);

    /// <summary>Starts the server again, with the same data and port.</summary>
    public static Task StartAgainAsync() => Shell.RunAsync(Script, "--start", Folder);

    public async ValueTask DisposeAsync()
    {
        if (script is not null)
        {
            await EndAsync(script).ConfigureAwait(false);
            return;
        }

        try
        {
            await ExecuteAsync($"DROP DATABASE {database} WITH (FORCE)").ConfigureAwait(false);
        }
        catch (BenchException e)
        {
            Progress.Log($"The database {database} is still there. {e.Message}");
        }
    }

    private static async Task EndAsync(Process script)
    {
        script.StandardInput.Close();
        using var timeout = new CancellationTokenSource(StopTimeout);
        await script.WaitForExitAsync(timeout.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        script.Dispose();
    }

    private static NpgsqlConnectionStringBuilder Parse(string connection)
    {
        const string Advice = $"Set {Variable} to postgres://USER:PASSWORD@HOST:PORT/DATABASE.";
        try
        {
            string settings = Uri.TryCreate(connection, UriKind.Absolute, out Uri? uri) ? PostgresAddress.Parse(uri).ConnectionString : connection;
            var server = new NpgsqlConnectionStringBuilder(settings) { Pooling = false };
            return server is { Host: not null, Username: not null } ? server : throw new BenchException($"{Variable} has no host or no user. {Advice}");
        }
        catch (Exception e) when (e is FormatException or ArgumentException)
        {
            throw new BenchException($"{Variable} is not valid: {e.Message}. {Advice}");
        }
    }

    private async Task ExecuteAsync(string sql)
    {
        try
        {
            NpgsqlDataSource source = NpgsqlDataSource.Create(server);
            await using var end = source.ConfigureAwait(false);
#pragma warning disable CA2100 // The name of the database is a constant and a GUID.
            NpgsqlCommand command = source.CreateCommand(sql);
#pragma warning restore CA2100
            await using var endCommand = command.ConfigureAwait(false);
            _ = await command.ExecuteNonQueryAsync().ConfigureAwait(false);
        }
        catch (NpgsqlException e)
        {
            throw new BenchException($"`{sql}` failed on {Host}:{Port}: {e.Message}");
        }
    }
}
