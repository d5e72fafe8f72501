using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

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
            string readme = await File.ReadAllTextAsync(Path.Combine(SourceTree.Root, "README.md"));
            Assert.That(readme, Does.Contain($"    curl http://127.0.0.1:8080{new Uri(words[1]).AbsolutePath} {string.Join(' ', words[2..])}\n"));

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
    public async Task SIGTERM_lets_a_running_request_finish()
    {
        using Process server = StellaProcess.Start(NoVariables, "serve", "--urls", "http://127.0.0.1:0", "--model", $"tiny={Fixtures.Model("tiny-new")}");
        string address = Regex.Match((await server.StandardOutput.ReadLineAsync())!, "http://[^ ]*[0-9]").Value;
        const int count = 10_000;
        using var client = new HttpClient();
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri($"{address}/embed"));
        request.Content = new StringContent(JsonSerializer.Serialize(new { inputs = Enumerable.Range(0, count).Select(i => $"text {i}") }), Encoding.UTF8, "application/json");
        using HttpResponseMessage answer = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Send(server, "TERM");
        JsonElement rows = JsonSerializer.Deserialize<JsonElement>(await answer.Content.ReadAsByteArrayAsync());
        await server.WaitForExitAsync();
        Assert.That(rows.GetArrayLength(), Is.EqualTo(count));
        Assert.That(server.ExitCode, Is.Zero);
    }

    [Test]
    [Platform(Include = "Linux")]
    public async Task Many_texts_for_a_slow_reader_do_not_take_much_memory()
    {
        const int Texts = 300_000;
        const long Limit = 500_000_000;
        // A model with vectors of few numbers, so that the test is about the texts and not about the time of a forward pass.
        using Process server = StellaProcess.Start(NoVariables, "serve", "--model", $"tiny={Fixtures.Model("tiny-new")}", "--urls", "http://127.0.0.1:0");
        try
        {
            string curl = (await server.StandardOutput.ReadLineAsync())! + await server.StandardOutput.ReadLineAsync();
            var address = new Uri(curl.Split("curl ", 2)[1].Split(' ', 2)[0]);
            using var client = new TcpClient { ReceiveBufferSize = 8192 };
            await client.ConnectAsync(address.Host, address.Port);
            NetworkStream stream = client.GetStream();
            byte[] body = Encoding.ASCII.GetBytes($$"""{"input":[{{string.Join(',', Enumerable.Range(0, Texts).Select(i => $"\"{Word(i)}\""))}}]}""");
            await stream.WriteAsync(Encoding.ASCII.GetBytes(
                $"POST {address.AbsolutePath} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\n\r\n"));
            await stream.WriteAsync(body);

            byte[] buffer = new byte[1 << 16];
            string end = "";
            int read;
            for (long total = 0, pauses = 0; (read = await stream.ReadAsync(buffer)) > 0; total += read)
            {
                end = (end + Encoding.ASCII.GetString(buffer, 0, read))[^Math.Min(100, end.Length + read)..];
                if (total >> 21 >= pauses)
                {
                    // Each pause is long enough for the server to fill all buffers between the two.
                    pauses++;
                    await Task.Delay(50);
                }
            }

            Assert.That(end, Does.EndWith("}}\r\n0\r\n\r\n"), "the end of a complete answer");
            Assert.That(PeakBytes(server), Is.LessThan(Limit));
        }
        finally
        {
            await Terminate(server);
        }

        static string Word(int i) => $"{(char)('a' + (i % 26))}{(char)('a' + (i / 26 % 26))}{(char)('a' + (i / 676 % 26))}";
    }

    [TestCase("chain.pem")]
    [TestCase("chain.pfx")]
    public async Task The_certificates_between_that_of_the_server_and_the_root_are_sent(string name)
    {
        using var folder = new TemporaryFolder();
        using RSA rootKey = RSA.Create(2048);
        using RSA middleKey = RSA.Create(2048);
        using RSA key = RSA.Create(2048);
        using X509Certificate2 root = MakeAuthority("CN=root", rootKey, null);
        using X509Certificate2 middle = MakeAuthority("CN=middle", middleKey, root);
        using X509Certificate2 issuer = middle.CopyWithPrivateKey(middleKey);
        using X509Certificate2 server = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            .Create(issuer, middle.NotBefore, middle.NotAfter, [1]);
        string file = folder.File(name);
        if (name.EndsWith(".pem", StringComparison.Ordinal))
        {
            await File.WriteAllTextAsync(file, $"{server.ExportCertificatePem()}\n{middle.ExportCertificatePem()}\n{key.ExportPkcs8PrivateKeyPem()}\n");
        }
        else
        {
            using X509Certificate2 withKey = server.CopyWithPrivateKey(key);
            await File.WriteAllBytesAsync(file, new X509Certificate2Collection { withKey, middle }.Export(X509ContentType.Pkcs12)!);
        }

        using Process process = StellaProcess.Start(NoVariables, "serve", "--urls", "https://127.0.0.1:0", "--cert", file);
        try
        {
            string address = Regex.Match((await process.StandardOutput.ReadLineAsync())!, "https://[^ ]*[0-9]").Value;
            string[] sent = [];
            using var handler = new HttpClientHandler
            {
                ServerCertificateCustomValidationCallback = (_, _, chain, _) =>
                {
                    sent = [.. chain!.ChainPolicy.ExtraStore.Select(certificate => certificate.Subject)];
                    return true;
                },
            };
            using var client = new HttpClient(handler);
            using HttpResponseMessage answer = await client.GetAsync(new Uri($"{address}/v1/models"));
            Assert.That(answer.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(sent, Does.Contain("CN=middle"));
        }
        finally
        {
            await Terminate(process);
        }
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
    public void A_server_that_other_machines_reach_needs_keys()
    {
        Check(StellaProcess.Run("serve", "--urls", "http://0.0.0.0:0"), 2, "--insecure", "stella keys add");
        Check(StellaProcess.Run("serve", "--urls", "http://*:0"), 2, "--insecure");
        Check(StellaProcess.Run("serve", "--urls", "nonsense"), 2, "nonsense");
        Check(StellaProcess.Run("serve", "--keys", "/no/such/file"), 1, "/no/such/file");
        Check(StellaProcess.Run("serve", "--urls", "https://127.0.0.1:0", "--cert", "/no/such.pem"), 1, "/no/such.pem");
    }

    [Test]
    public async Task A_certificate_in_PFX_is_opened_by_its_password()
    {
        using var folder = new TemporaryFolder();
        using X509Certificate2 certificate = MakeCertificate();
        (string pfx, string password, string wrong) = (folder.File("server.pfx"), folder.File("password"), folder.File("wrong"));
        await File.WriteAllBytesAsync(pfx, certificate.ExportPkcs12(Pkcs12ExportPbeParameters.Pbes2Aes256Sha256, "a password"));
        await File.WriteAllTextAsync(password, "a password\n");
        await File.WriteAllTextAsync(wrong, "another");
        string[] arguments = ["serve", "--urls", "https://127.0.0.1:0", "--model", $"tiny={Fixtures.Model("tiny-new")}", "--cert", pfx];

        await CheckCertificateAsync(certificate, NoVariables, [.. arguments, "--cert-password-file", password]);
        await CheckCertificateAsync(certificate, new Dictionary<string, string?> { ["STELLA_Server__CertificatePassword"] = "a password" }, arguments);
        CheckLine(StellaProcess.Run(arguments), 1, pfx, "needs a password", "--cert-password-file");
        CheckLine(StellaProcess.Run([.. arguments, "--cert-password-file", wrong]), 1, pfx, "is wrong");
        CheckLine(StellaProcess.Run([.. arguments, "--cert-password-file", folder.File("none")]), 1, folder.File("none"));
        CheckLine(StellaProcess.Run([.. arguments, "--key", password]), 2, "--key");
    }

    [Test]
    public async Task A_certificate_in_PEM_has_its_key_in_the_same_file_or_in_another()
    {
        using var folder = new TemporaryFolder();
        using X509Certificate2 certificate = MakeCertificate();
        using RSA rsa = certificate.GetRSAPrivateKey()!;
        (string both, string cert, string key) = (folder.File("both.pem"), folder.File("server.pem"), folder.File("server.key"));
        await File.WriteAllTextAsync(cert, certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(key, rsa.ExportPkcs8PrivateKeyPem());
        await File.WriteAllTextAsync(both, $"{certificate.ExportCertificatePem()}\n{rsa.ExportPkcs8PrivateKeyPem()}\n");
        string[] arguments = ["serve", "--urls", "https://127.0.0.1:0", "--model", $"tiny={Fixtures.Model("tiny-new")}", "--cert"];

        await CheckCertificateAsync(certificate, NoVariables, [.. arguments, cert, "--key", key]);
        await CheckCertificateAsync(certificate, NoVariables, [.. arguments, both]);
        CheckLine(StellaProcess.Run([.. arguments, cert]), 1, cert);
        CheckLine(StellaProcess.Run([.. arguments, cert, "--key", cert]), 1, cert);
    }

    [Test]
    public void A_certificate_and_the_addresses_must_fit()
    {
        Check(StellaProcess.Run("serve", "--urls", "https://127.0.0.1:0"), 2, "--cert");
        Check(StellaProcess.Run("serve", "--cert", "x.pem"), 2, "https");
        Check(StellaProcess.Run("serve", "--cors", "https://a/path"), 2, "https://a/path");
    }

    [Test]
    public async Task A_key_is_printed_once_and_opens_the_server()
    {
        using var folder = new TemporaryFolder();
        string file = folder.File("keys.json");
        StellaResult added = StellaProcess.Run("keys", "add", "alice", "--keys", file, "--tokens-per-minute", "1000", "--concurrent", "2", "--priority", "bulk");
        string key = added.Output.Trim();
        Assert.That(key, Does.Match("^sk-stella-[0-9a-f]{64}$"), added.Error);
        Assert.That(await File.ReadAllTextAsync(file), Does.Not.Contain(key[10..]));
        Check(StellaProcess.Run("keys", "add", "alice", "--keys", file), 2, "already has a key 'alice'");
        Check(StellaProcess.Run("keys", "add", "a b", "--keys", file), 2, "'a b'");
        Assert.That(StellaProcess.Run("keys", "list", "--keys", file).Output.Trim(), Is.EqualTo("alice  1000 tokens per minute  2 requests at a time  bulk"));

        using Process server = StellaProcess.Start(NoVariables, "serve", "--urls", "http://0.0.0.0:0", "--keys", file);
        try
        {
            string address = (await server.StandardOutput.ReadLineAsync())!;
            Assert.That(await server.StandardOutput.ReadLineAsync(), Does.Contain("Authorization: Bearer KEY"));
            int port = int.Parse(Regex.Match(address, ":([0-9]+)").Groups[1].Value);
            using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
            Assert.That((await client.GetAsync(new Uri("/v1/models", UriKind.Relative))).StatusCode, Is.EqualTo(HttpStatusCode.Unauthorized));
            client.DefaultRequestHeaders.Authorization = new("Bearer", key);
            Assert.That((await client.GetAsync(new Uri("/v1/models", UriKind.Relative))).StatusCode, Is.EqualTo(HttpStatusCode.OK));
        }
        finally
        {
            await Terminate(server);
        }

        Assert.That(StellaProcess.Run("keys", "remove", "alice", "--keys", file).ExitCode, Is.Zero);
        Check(StellaProcess.Run("keys", "remove", "alice", "--keys", file), 2, "no key 'alice'");
    }

    [Test]
    [Platform(Include = "Linux")]
    public async Task Embed_loads_no_assembly_of_the_server_of_bulk_jobs_or_of_the_cluster()
    {
        Assert.That(
            await LoadedFilesAsync("embed", "--input", "-"),
            Has.Some.Contains("StellaInterop.dll").And.None.Contains("AspNetCore").And.None.Contains("StellaInterop.Server").And.None.Contains("StellaInterop.Bulk")
                .And.None.Contains("StellaInterop.Cluster").And.None.Contains("Orleans").And.None.Contains("Npgsql").And.None.Contains("Redis"));
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

    private static void Send(Process server, string signal)
    {
        using Process kill = Process.Start("kill", [$"-{signal}", $"{server.Id}"]);
        kill.WaitForExit();
    }

    /// <summary>Returns the largest resident memory that the process has had.</summary>
    private static long PeakBytes(Process process)
    {
        string line = File.ReadLines($"/proc/{process.Id}/status").First(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
        long peak = long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2]) << 10;
        TestContext.Out.WriteLine($"{peak / 1_000_000} MB");
        return peak;
    }

    private static async Task Terminate(Process server)
    {
        Send(server, "TERM");
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        await server.WaitForExitAsync(timeout.Token);
    }

    /// <summary>Makes a certificate for this machine.</summary>
    private static X509Certificate2 MakeCertificate()
    {
        using RSA key = RSA.Create(2048);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
    }

    /// <summary>Makes a certificate that may issue others; its own issuer without one.</summary>
    private static X509Certificate2 MakeAuthority(string name, RSA key, X509Certificate2? issuer)
    {
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, pathLengthConstraint: 0, critical: true));
        return issuer is null
            ? request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1))
            : request.Create(issuer, issuer.NotBefore, issuer.NotAfter, [1]);
    }

    private static async Task CheckCertificateAsync(X509Certificate2 certificate, Dictionary<string, string?> variables, string[] arguments)
    {
        using Process server = StellaProcess.Start(variables, arguments);
        try
        {
            string address = Regex.Match((await server.StandardOutput.ReadLineAsync())!, "https://[^ ]*[0-9]").Value;
            string? shown = null;
            using var handler = new HttpClientHandler { ServerCertificateCustomValidationCallback = (_, sent, _, _) => (shown = sent?.Thumbprint) is not null };
            using var client = new HttpClient(handler);
            using HttpResponseMessage answer = await client.GetAsync(new Uri($"{address}/v1/models"));
            Assert.That(answer.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(shown, Is.EqualTo(certificate.Thumbprint));
        }
        finally
        {
            await Terminate(server);
        }
    }

    private static void CheckLine(StellaResult result, int exitCode, params string[] parts)
    {
        Check(result, exitCode, parts);
        Assert.That(result.Error.TrimEnd().Split('\n'), Has.Length.EqualTo(1));
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
