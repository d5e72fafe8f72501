using System.Data.Common;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using StellaInterop.Bench.Sources;
using StellaInterop.Bench.Terminal;
using StellaInterop.Chaos.Machine;

namespace StellaInterop.Chaos.Postgres;

/// <summary>The PostgreSQL server of a run: that of <c>STELLA_POSTGRES</c>, or a temporary one of the script that installs it.</summary>
internal sealed class PostgresServer : IAsyncDisposable
{
    private const string Variable = "STELLA_POSTGRES";
    private const int DefaultPort = 5432;
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(30);

    private readonly Process? script;
    private readonly string user;
    private readonly string password;
    private readonly string database;

    private PostgresServer(string connection, Process? script)
    {
        this.script = script;
        if (Uri.TryCreate(connection, UriKind.Absolute, out Uri? uri))
        {
            string[] login = uri.UserInfo.Split(':', 2);
            (Host, Port) = (uri.Host, uri.Port > 0 ? uri.Port : DefaultPort);
            (user, password, database) = (Uri.UnescapeDataString(login[0]), Uri.UnescapeDataString(login[^1]), uri.AbsolutePath.Trim('/'));
            return;
        }

        var parts = new DbConnectionStringBuilder { ConnectionString = connection };
        string Part(string name) => parts.TryGetValue(name, out object? value)
            ? (string)value
            : throw new BenchException($"{Variable} has no {name}. Set it to postgres://USER:PASSWORD@HOST:PORT/DATABASE.");
        (Host, Port) = (Part("Host"), parts.ContainsKey("Port") ? int.Parse(Part("Port"), CultureInfo.InvariantCulture) : DefaultPort);
        (user, password, database) = (Part("Username"), Part("Password"), Part("Database"));
    }

    public string Host { get; }

    public int Port { get; }

    /// <summary>Gets whether the server can be stopped: it is that of the script.</summary>
    public bool CanStop => script is not null;

    private static string Script => Path.Combine(SourceTree.Root, "samples/FolderSearch/pgvector.sh");

    private static string Folder => Path.Combine(SourceTree.Root, "artifacts/pgvector");

    /// <summary>Starts the server, after its installation at the first time.</summary>
    /// <exception cref="BenchException">The server did not start. Standard error has the reason.</exception>
    public static async Task<PostgresServer> StartAsync()
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } own)
        {
            return new PostgresServer(own, script: null);
        }

        // The command of the script says the address, and ends when its input does: at the end of this process, whatever ends it.
        string[] command = [Folder, "sh", "-c", $"echo \"${Variable}\"; exec cat >/dev/null"];
        Process script = Process.Start(new ProcessStartInfo(Script, command) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        string? connection = await script.StandardOutput.ReadLineAsync().ConfigureAwait(false);
        if (connection is null)
        {
            await script.WaitForExitAsync().ConfigureAwait(false);
            throw new BenchException($"PostgreSQL did not start: `{Script}` ended with {script.ExitCode}. Its message is above.");
        }

        return new PostgresServer(connection, script);
    }

    /// <summary>Returns the address of the cluster.</summary>
    /// <param name="relay">The relay of a node; <see langword="null"/> for the server itself.</param>
    public string AddressVia(IPEndPoint? relay)
    {
        string host = relay is null ? string.Create(CultureInfo.InvariantCulture, $"{Host}:{Port}") : relay.ToString();
        return $"postgres://{Uri.EscapeDataString(user)}:{Uri.EscapeDataString(password)}@{host}/{database}";
    }

    /// <summary>Ends all processes of the server at once.</summary>
    public static Task StopAsync() => Shell.RunAsync(Script, "--stop", Folder);

    /// <summary>Starts the server again, with the same data and port.</summary>
    public static Task StartAgainAsync() => Shell.RunAsync(Script, "--start", Folder);

    public async ValueTask DisposeAsync()
    {
        if (script is null)
        {
            return;
        }

        script.StandardInput.Close();
        using var timeout = new CancellationTokenSource(StopTimeout);
        await script.WaitForExitAsync(timeout.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        script.Dispose();
    }
}
