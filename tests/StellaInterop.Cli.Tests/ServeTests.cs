using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace StellaInterop.Tests;

/// <summary>The command <c>stella serve</c>.</summary>
internal sealed class ServeTests
{
    private static readonly Dictionary<string, string?> NoVariables = [];

    [Test]
    public async Task The_printed_request_is_answered_and_SIGTERM_ends_the_server_with_0()
    {
        using Process server = StellaProcess.Start(NoVariables, "serve", "--urls", "http://127.0.0.1:0");
        try
        {
            string first = (await server.StandardOutput.ReadLineAsync())!;
            string second = (await server.StandardOutput.ReadLineAsync())!;
            Assert.That(first, Does.StartWith("Serving stella-mini at http://127.0.0.1:"));
            Assert.That(second, Does.StartWith("curl http://127.0.0.1:"));

            string[] words = second.Split(' ', 4);
            using var client = new HttpClient();
            using var body = new StringContent(second.Split('\'')[3], Encoding.UTF8, "application/json");
            using HttpResponseMessage answer = await client.PostAsync(new Uri(words[1]), body);
            Assert.That(answer.StatusCode, Is.EqualTo(HttpStatusCode.OK), await answer.Content.ReadAsStringAsync());
        }
        finally
        {
            await Terminate(server);
        }

        Assert.That(server.ExitCode, Is.Zero);
    }

    [Test]
    public void A_taken_port_is_one_sentence_and_exit_code_1()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        int port = ((IPEndPoint)taken.LocalEndpoint).Port;
        StellaResult result = StellaProcess.Run("serve", "--urls", $"http://127.0.0.1:{port}", "--verbosity", "quiet");
        Assert.That(result.ExitCode, Is.EqualTo(1));
        Assert.That(result.Error.TrimEnd().Split('\n'), Has.Length.EqualTo(1).And.All.Contains("--urls"));
    }

    [Test]
    public void A_wrong_option_is_exit_code_2()
    {
        Check(StellaProcess.Run("serve", "--max-body-bytes", "3"), 2, "1024 to 1073741824");
        Check(StellaProcess.Run("serve", "--model", "./folder", "--model", "a:b=./folder"), 2, "has no name", "a:b");
        Check(StellaProcess.Run("serve", "--colour"), 2, "--colour");
        Check(StellaProcess.RunWith(new Dictionary<string, string?> { ["STELLA_Server__MaxBodyBytes"] = "3" }, "serve"), 2, "Server:MaxBodyBytes");
    }

    [Test]
    public void A_refused_model_is_exit_code_3()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        File.WriteAllText(folder.File("config.json"), "{");
        Check(StellaProcess.Run("serve", "--model", $"a={folder.Path}"), 3, "config.json");
        Check(StellaProcess.Run("serve", "--model", "a=/no/such/folder"), 3, "/no/such/folder does not exist");
    }

    [Test]
    [Platform(Include = "Linux")]
    public async Task Embed_loads_no_assembly_of_the_server()
    {
        Assert.That(await LoadedFilesAsync("embed", "--input", "-"), Has.Some.Contains("StellaInterop.dll").And.None.Contains("AspNetCore").And.None.Contains("StellaInterop.Server"));
    }

    /// <summary>Returns the files in the memory of a command that has written a row and waits for more input.</summary>
    private static async Task<string[]> LoadedFilesAsync(params string[] arguments)
    {
        using Process command = StellaProcess.Start(NoVariables, arguments);
        try
        {
            await command.StandardInput.WriteLineAsync("a text");
            await command.StandardInput.FlushAsync();
            Assert.That(await command.StandardOutput.ReadLineAsync(), Does.StartWith("{"));
            // The process that was started may execute another, but keeps its id.
            string[] lines = await File.ReadAllLinesAsync($"/proc/{command.Id}/maps");
            return [.. lines.Where(line => line.Contains('/', StringComparison.Ordinal))
                .Select(line => line[line.IndexOf('/', StringComparison.Ordinal)..])
                // The libraries need this one too, and the runtime takes the newer of two copies.
                .Where(file => Path.GetFileName(file) != "Microsoft.Extensions.Logging.Abstractions.dll")
                .Distinct()];
        }
        finally
        {
            command.StandardInput.Close();
            await command.WaitForExitAsync();
        }
    }

    private static async Task Terminate(Process server)
    {
        using Process kill = Process.Start("kill", ["-TERM", $"{server.Id}"]);
        await kill.WaitForExitAsync();
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        await server.WaitForExitAsync(timeout.Token);
    }

    private static void Check(StellaResult result, int exitCode, params string[] parts)
    {
        Assert.That(result.ExitCode, Is.EqualTo(exitCode), result.Error);
        foreach (string part in parts)
        {
            Assert.That(result.Error, Does.Contain(part));
        }

        Assert.That(result.Error, Does.Not.Contain("   at "));
    }
}
