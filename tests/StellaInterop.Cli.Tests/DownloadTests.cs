using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using StellaInterop.ModelFiles;

namespace StellaInterop.Tests;

/// <summary>Tests <c>stella download</c> against a server with scripted faults.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
internal sealed class DownloadTests : IDisposable
{
    private const string Weights = "model.safetensors";

    private readonly ModelServer server = new(Fixtures.Model("tiny-new"));
    private readonly TemporaryFolder home = new();

    private string Repository => home.File("hub/models--test-org--tiny-new");

    private string Snapshot => Path.Combine(Repository, "snapshots", ModelServer.Commit);

    public void Dispose()
    {
        server.Dispose();
        home.Dispose();
    }

    [Test]
    public void A_downloaded_model_has_the_cache_layout_loads_by_name_and_is_not_downloaded_twice()
    {
        StellaResult result = Download();
        Succeeds(result);
        Assert.That(result.Output.Trim(), Is.EqualTo(Snapshot));
        string published = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(Fixture(Weights)));
        Assert.Multiple(() =>
        {
            Assert.That(File.ReadAllText(Path.Combine(Repository, "refs/main")), Is.EqualTo(ModelServer.Commit));
            // Windows permits links only to some users.
            string? link = OperatingSystem.IsWindows() ? new FileInfo(Path.Combine(Snapshot, "modules.json")).LinkTarget : "";
            Assert.That(new FileInfo(Path.Combine(Snapshot, Weights)).LinkTarget, Is.EqualTo(link is null ? null : SystemPath.Of($"../../blobs/{published}")));
            Assert.That(File.ReadAllBytes(Path.Combine(Repository, "blobs", published)), Is.EqualTo(Fixture(Weights)));
            Assert.That(File.Exists(Path.Combine(Snapshot, "1_Pooling/config.json")), "the link in a subfolder");
            // Only the head that modules.json names is downloaded, and only files that the loader reads.
            Assert.That(Directory.EnumerateDirectories(Snapshot, "2_*").Select(Path.GetFileName), Is.EqualTo(new[] { "2_Dense_1024" }));
            Assert.That(File.Exists(Path.Combine(Snapshot, "sentence_bert_config.json")), "the file with the length limit");
            Assert.That(Directory.EnumerateFiles(Repository, "*.incomplete", SearchOption.AllDirectories), Is.Empty);
        });

        StellaResult byName = Stella("embed", "a text", "--model", ModelServer.Model);
        StellaResult byFolder = Stella("embed", "a text", "--model", Fixtures.Model("tiny-new"));
        Succeeds(byName);
        Assert.That(byName.Output, Is.EqualTo(byFolder.Output));
        Succeeds(Stella("verify", ModelServer.Model));

        server.Requests.Clear();
        Succeeds(Download("--dimension", "256"));
        Assert.That(
            server.Requests.Select(request => Path.GetFileName(Path.GetDirectoryName(request.Path))).Skip(1),
            Is.EqualTo(new[] { "2_Dense_256", "2_Dense_256" }), "only the missing files are requested");
        Assert.That(Stella("embed", "a text", "--model", ModelServer.Model, "--dimension", "256").ExitCode, Is.Zero);
        Succeeds(Download());
        StellaResult verified = Stella("verify", ModelServer.Model);
        Assert.That((verified.ExitCode, verified.Output.Contains("2_Dense_1024")), Is.EqualTo((0, true)), "the manifest lists the heads of all runs");
    }

    [Test]
    public void A_folder_gets_plain_files_and_a_damaged_file_is_replaced()
    {
        string folder = home.File("model");
        Succeeds(Download("--dir", folder));
        Assert.That(Directory.EnumerateFileSystemEntries(folder).Select(Path.GetFileName), Does.Not.Contain(".stella-download"));
        Assert.That(new FileInfo(Path.Combine(folder, Weights)).LinkTarget, Is.Null);
        StellaManifest manifest = StellaManifest.Load(Path.Combine(folder, StellaManifest.FileName));
        Assert.That((manifest.Repository, manifest.Revision), Is.EqualTo((ModelServer.Model, ModelServer.Commit)));
        Assert.That(manifest.Verify(folder).IsValid);
        Assert.That(Directory.Exists(home.File("hub")), Is.False, "the cache is not used");

        Flip(Path.Combine(folder, Weights));
        server.Requests.Clear();
        Succeeds(Download("--dir", folder));
        Assert.That(server.Requests, Has.Count.EqualTo(2), "the list and the damaged file");
        Assert.That(File.ReadAllBytes(Path.Combine(folder, Weights)), Is.EqualTo(Fixture(Weights)));
        Succeeds(Stella("embed", "x", "--model", folder));
    }

    [Test]
    public void A_broken_transfer_continues_at_its_last_byte()
    {
        server.Plan(Weights, new() { BreakAfter = 1000 }, new() { BreakAfter = 2000 });
        StellaResult result = Download();
        Succeeds(result);
        ModelRequest[] requests = server.RequestsFor(Weights);
        Assert.That(requests.Select(r => r.Header("range")), Is.EqualTo(new[] { null, "bytes=1000-", "bytes=3000-" }));
        Assert.That(result.Error, Does.Contain("warning: ").And.Contain("Trying again in"));
        Assert.That(File.ReadAllBytes(Path.Combine(Snapshot, Weights)), Is.EqualTo(Fixture(Weights)));
    }

    [Test]
    public void A_content_length_that_is_too_short_continues_the_transfer_with_the_entity_tag()
    {
        server.Plan(Weights, new Behaviour { ContentLength = 500, BreakAfter = 500 });
        Succeeds(Download());
        ModelRequest rest = server.RequestsFor(Weights)[1];
        Assert.That((rest.Header("range"), rest.Header("if-range")), Is.EqualTo(("bytes=500-", "\"v1\"")));
    }

    [Test]
    public void A_content_length_that_is_too_long_does_not_fail_a_complete_file()
    {
        server.Plan(Weights, new Behaviour { ContentLength = Fixture(Weights).Length + 1000 });
        Succeeds(Download());
        Assert.That(File.ReadAllBytes(Path.Combine(Snapshot, Weights)), Is.EqualTo(Fixture(Weights)));
        Assert.That(server.RequestsFor(Weights), Has.Length.EqualTo(1), "the file is complete after one request");
    }

    [Test]
    public void The_revision_is_requested_and_stored_as_a_reference()
    {
        Succeeds(Download("--revision", "feature/x"));
        Assert.That(server.RequestsFor("api").Single().Path, Does.Contain("/revision/feature%2Fx?"));
        string[] References() => [.. Directory.EnumerateFiles(Path.Combine(Repository, "refs"), "*", SearchOption.AllDirectories)];
        Assert.That(References(), Is.EqualTo(new[] { Path.Combine(Repository, SystemPath.Of("refs/feature/x")) }), "main is not stored");
        Succeeds(Download("--revision", "feature/x", "--offline"));
        Fails(Download("--offline"), 3, SystemPath.Of("refs/main"));
        Succeeds(Download("--revision", ModelServer.Commit));
        Assert.That(References(), Has.Length.EqualTo(1), "a commit needs no reference");
    }

    /// <summary>Searches the sources for types that open connections. A cluster connects to the servers and nodes that its user names.</summary>
    [Test]
    public void Only_HubClient_and_the_membership_of_a_cluster_open_connections()
    {
        string[] types = ["HttpClient(", "HttpMessageInvoker(", "WebRequest", "WebClient", "Socket(", "TcpClient", "UdpClient", "ClientWebSocket", "NpgsqlConnection", "ConnectionMultiplexer"];
        string cluster = SystemPath.Of("StellaInterop.Cluster/Membership/");
        string sources = Path.Combine(SourceTree.Root, "src");
        IEnumerable<string> found = Directory.EnumerateFiles(sources, "*.cs", SearchOption.AllDirectories)
            .Where(file => File.ReadAllText(file) is var text && types.Any(type => text.Contains(type, StringComparison.Ordinal)));
        string[] files = [.. found.Select(file => Path.GetRelativePath(sources, file))];
        Assert.That(files.Where(file => !file.StartsWith(cluster, StringComparison.Ordinal)), Is.EqualTo(new[] { SystemPath.Of("StellaInterop.Cli/Hub/HubClient.cs") }));
    }

    [Test]
    public void A_server_that_ignores_the_range_restarts_the_file()
    {
        server.Plan(Weights, new() { BreakAfter = 1000 }, new() { IgnoreRange = true });
        Succeeds(Download());
        Assert.That(File.ReadAllBytes(Path.Combine(Snapshot, Weights)), Is.EqualTo(Fixture(Weights)));
    }

    [Test]
    public void A_later_run_continues_the_partial_file_of_a_failed_run()
    {
        server.Plan(Weights, new() { BreakAfter = 1000 }, new() { BreakAfter = 0 });
        Fails(Download("--retries", "0"), 5, "127.0.0.1");
        Assert.That(File.Exists(Path.Combine(Repository, "refs/main")), Is.False, "an incomplete model has no reference");
        Assert.That(Directory.EnumerateFiles(Repository, "*.incomplete", SearchOption.AllDirectories).Count(), Is.EqualTo(1));
        Fails(Download("--retries", "0"), 5);
        Succeeds(Download());
        Assert.That(server.RequestsFor(Weights)[^1].Header("range"), Is.EqualTo("bytes=1000-"));
    }

    [Test]
    public void Ctrl_c_keeps_the_received_bytes()
    {
        server.Plan(Weights, new Behaviour { StallAfter = 4000 });
        using Process process = StellaProcess.Start(Variables(), Arguments());
        Assert.That(server.Stalled.Task.Wait(TimeSpan.FromMinutes(1)), "the transfer of the body started");
        string[] Partials() => Directory.GetFiles(Repository, "*.incomplete", SearchOption.AllDirectories);
        Assert.That(() => Partials().Sum(file => new FileInfo(file).Length), Is.EqualTo(4000).After(30_000, 20));
        StellaProcess.Signal(process, "INT");
        Assert.That(process.ExitCode, Is.EqualTo(130));
        Assert.That(process.StandardError.ReadToEnd(), Does.Contain("Run the same command again to continue."));
        Succeeds(Download());
        Assert.That(server.RequestsFor(Weights)[^1].Header("range"), Is.EqualTo("bytes=4000-"));
    }

    [Test]
    public void A_stalled_transfer_times_out_and_continues()
    {
        server.Plan(Weights, new Behaviour { StallAfter = 4000 });
        var variables = Variables();
        variables["HF_HUB_DOWNLOAD_TIMEOUT"] = "1";
        StellaResult result = StellaProcess.RunWith(variables, Arguments());
        Succeeds(result);
        Assert.That(result.Error, Does.Contain("warning: 127.0.0.1 sent no data for 1 s. Trying again in 0.25 s."));
        Assert.That(server.RequestsFor(Weights).Select(r => r.Header("range")), Is.EqualTo(new[] { null, "bytes=4000-" }));

        server.Plan("api", new Behaviour { StallAfter = 10 });
        variables["HF_HUB_ETAG_TIMEOUT"] = "1";
        Fails(StellaProcess.RunWith(variables, Arguments("--retries", "0")), 5, "127.0.0.1 sent no data for 1 s.");
        variables["HF_HUB_DOWNLOAD_TIMEOUT"] = "soon";
        Fails(StellaProcess.RunWith(variables, Arguments()), 2, "HF_HUB_DOWNLOAD_TIMEOUT is 'soon'");
    }

    [Test]
    public void Without_a_terminal_progress_is_one_line_per_file_and_quiet_writes_nothing()
    {
        StellaResult result = Download();
        Succeeds(result);
        string[] lines = result.Error.TrimEnd().Split('\n');
        Assert.That(lines, Has.All.Matches("^[A-Za-z0-9_/.]+: [0-9]+ bytes, checked$"));
        Assert.That(lines[0], Is.EqualTo($"modules.json: {Fixture("modules.json").Length} bytes, checked"), "the index file is the first");
        Assert.That(lines, Does.Contain($"{Weights}: {Fixture(Weights).Length} bytes, checked").And.Exactly(9).Items);
        Assert.That(result.Output, Is.EqualTo($"{Snapshot}\n"), "standard output has only the folder");
        StellaResult quiet = Download("--verbosity", "quiet");
        Assert.That((quiet.ExitCode, quiet.Error, quiet.Output), Is.EqualTo((0, "", $"{Snapshot}\n")));
    }

    [Test]
    public void A_large_file_reports_each_tenth_once()
    {
        using TemporaryFolder large = Fixtures.Copy("tiny-new");
        using (FileStream file = File.OpenWrite(large.File(Weights)))
        {
            file.SetLength(65 << 20);
        }

        using var other = new ModelServer(large.Path);
        StellaResult result = Download("--endpoint", other.Endpoint);
        Succeeds(result);
        string[] lines = [.. result.Error.Split('\n').Where(line => line.EndsWith('%'))];
        Assert.That(lines, Is.EqualTo(Enumerable.Range(1, 10).Select(tenth => $"{Weights}: {10 * tenth} %")));
    }

    /// <summary>Runs on Linux, because OpenSSL can be configured to trust the certificate.</summary>
    [Test]
    [Platform("Linux")]
    public void A_redirect_from_https_to_http_is_not_followed()
    {
        using X509Certificate2 certificate = CreateCertificate();
        using var secure = new ModelServer(Fixtures.Model("tiny-new"), certificate);
        string plain = $"{server.Endpoint}/{ModelServer.Model}/resolve/{ModelServer.Commit}/{Weights}";
        secure.Plan(Weights, new Behaviour { Status = 302, Headers = [$"Location: {plain}"] });
        var variables = Variables();
        variables["SSL_CERT_FILE"] = home.File("trusted.pem");
        File.WriteAllText(home.File("trusted.pem"), certificate.ExportCertificatePem());
        Fails(StellaProcess.RunWith(variables, Arguments("--endpoint", secure.Endpoint)), 5, "redirects to http, which is not safe");
        Assert.That(server.Requests, Is.Empty);
        Assert.That(secure.RequestsFor(Weights), Has.Length.EqualTo(1), "the request is not retried");

        Succeeds(StellaProcess.RunWith(variables, Arguments("--endpoint", secure.Endpoint)));
        variables.Remove("SSL_CERT_FILE");
        secure.Requests.Clear();
        Fails(StellaProcess.RunWith(variables, Arguments("--endpoint", secure.Endpoint)), 5, "cannot be used");
        Assert.That(secure.Requests, Is.Empty, "an untrusted server gets no request");
    }

    [Test]
    [Platform("Linux,MacOsX")]
    public void A_pipe_in_the_cache_is_refused_without_waiting()
    {
        Succeeds(Download());
        string reference = Path.Combine(Repository, "refs/main");
        File.Delete(reference);
        Unix.MakeFifo(reference);
        Fails(Stella("embed", "x", "--model", ModelServer.Model), 3, "refs/main does not hold a commit");
        string modules = Path.Combine(Snapshot, "modules.json");
        File.Delete(modules);
        Unix.MakeFifo(modules);
        Fails(Download("--offline", "--dir", Snapshot), 3, "modules.json is empty or not a regular file");
    }

    [TestCase(Weights)]
    [TestCase("tokenizer.json")]
    public void Wrong_bytes_are_refused_and_deleted(string file)
    {
        server.Plan(file, new Behaviour { Damage = true });
        Fails(Download(), 3, $"{file} from");
        Assert.That(File.Exists(Path.Combine(Snapshot, file)), Is.False);
        Assert.That(Directory.EnumerateFiles(Repository, "*.incomplete", SearchOption.AllDirectories), Is.Empty);
        Succeeds(Download());
    }

    [Test]
    public void The_token_is_sent_to_the_endpoint_but_not_to_redirect_targets()
    {
        using var other = new ModelServer(Fixtures.Model("tiny-new"));
        string elsewhere = $"{other.Endpoint}/{ModelServer.Model}/resolve/{ModelServer.Commit}/{Weights}";
        server.Plan(Weights, new Behaviour { Status = 302, Headers = [$"Location: {elsewhere}"] });
        server.Plan("config.json", new Behaviour { Status = 307, Headers = ["Location: /moved/config.json"] });
        server.Plan("moved/config.json", new Behaviour { Status = 307, Headers = [$"Location: /x/{ModelServer.Commit}/config.json"] });
        var variables = Variables();
        variables["HF_TOKEN"] = "hf_secret";
        StellaResult result = StellaProcess.RunWith(variables, Arguments("--verbosity", "debug"));
        Succeeds(result);
        Assert.Multiple(() =>
        {
            Assert.That(server.Requests.Select(r => r.Header("authorization")), Has.All.EqualTo("Bearer hf_secret"));
            Assert.That(server.Requests.Select(r => r.Path), Does.Contain("/moved/config.json"));
            Assert.That(other.Requests, Has.Count.EqualTo(1));
            Assert.That(other.Requests.Single().Headers.Values, Has.None.Contains("hf_secret"));
            Assert.That(result.Error + result.Output, Does.Not.Contain("hf_secret"));
        });

        variables.Remove("HF_TOKEN");
        File.WriteAllText(home.File("token"), "hf_of_file\n");
        server.Requests.Clear();
        Succeeds(StellaProcess.RunWith(variables, Arguments()));
        Assert.That(server.Requests.First().Header("authorization"), Is.EqualTo("Bearer hf_of_file"));
    }

    [TestCase(401, "HF_TOKEN")]
    [TestCase(403, "Accept its terms")]
    [TestCase(404, "Check the name and --revision")]
    public void A_refused_request_is_not_retried_and_its_message_says_what_to_do(int status, string expectedText)
    {
        server.Plan("api", new Behaviour { Status = status });
        Fails(Download(), 5, $"answered {status}. ", expectedText);
        Assert.That(server.Requests, Has.Count.EqualTo(1));
    }

    [TestCase(429, "Wait before running this again")]
    [TestCase(503, "--endpoint")]
    public void A_transient_status_is_retried_until_the_limit_of_retries(int status, string expectedText)
    {
        server.Plan("api", new Behaviour { Status = status, Headers = ["Retry-After: 1"] });
        server.Plan(Weights, new Behaviour { Status = status });
        Succeeds(Download());
        ModelRequest[] list = server.RequestsFor("api");
        Assert.That(list, Has.Length.EqualTo(2));
        Assert.That(list[1].At - list[0].At, Is.GreaterThanOrEqualTo(950), "the wait is at least Retry-After");

        server.Plan("api", new() { Status = status }, new() { Status = status });
        Fails(Download("--retries", "1"), 5, $"answered {status}. ", expectedText);
        server.Plan("api", new Behaviour { Status = status, Headers = ["Retry-After: 86400"] });
        Fails(Download(), 5, "The server asks to wait 86400 s.");
    }

    [Test]
    public void Too_many_redirects_and_redirects_to_other_schemes_are_refused()
    {
        var again = new Behaviour { Status = 302, Headers = [$"Location: /{ModelServer.Commit}/config.json"] };
        server.Plan("config.json", [.. Enumerable.Repeat(again, 6)]);
        Fails(Download(), 5, "more than 5 redirects");
        server.Plan("config.json", new Behaviour { Status = 302, Headers = ["Location: file:///etc/passwd"] });
        Fails(Download(), 5, "redirects to file");
    }

    [TestCase("//")]
    [TestCase("http://")]
    [TestCase("https:///x")]
    [TestCase("http://[::1")]
    [TestCase("http://host:port/")]
    [TestCase("http://a b/")]
    [TestCase("http://127.0.0.1:0/")]
    [TestCase("http://-._~!$&'()*+,;=/")]
    [TestCase("http://\u001b[2Jx/", @"http://\u{1b}[2Jx/")]
    [TestCase("file://\u0007/x", @"\u{7}")]
    public void A_redirect_to_an_invalid_address_is_refused_with_its_value(string location, string? shown = null)
    {
        server.Plan("config.json", new Behaviour { Status = 302, Headers = [$"Location: {location}"] });
        StellaResult result = Download("--retries", "0");
        Fails(result, 5, shown ?? (location.EndsWith(":0/", StringComparison.Ordinal) ? "127.0.0.1:0" : location));
        Assert.That(result.Error, Does.Not.Contain("Invalid URI"));
        Assert.That(result.Error.TrimEnd().Split('\n')[^1], Does.Not.Contain("Unhandled"));
    }

    [Test]
    public void A_redirect_without_a_location_is_refused()
    {
        server.Plan("config.json", new Behaviour { Status = 302, Headers = ["Location: "] });
        server.Plan("config.json", new Behaviour { Status = 302 });
        Fails(Download(), 5, "answered 302", server.Endpoint);
        Fails(Download(), 5, "answered 302", server.Endpoint);
    }

    /// <summary>Provokes messages with text of the server. Every run of the tests is searched for control characters.</summary>
    [Test]
    public void Text_of_a_server_is_escaped()
    {
        const string Hostile = "\u001b]0;title\u0007\nerror: all is well\u202e";
        string quoted = System.Text.Json.JsonSerializer.Serialize(Hostile);
        string[] answers =
        [
            $$"""{"sha": {{quoted}}, "siblings": []}""",
            $$"""{"sha": "{{ModelServer.Commit}}", "siblings": [{"rfilename": {{quoted}}}]}""",
            $$"""{"sha": "{{ModelServer.Commit}}", "siblings": [{"rfilename": "config.json", "size": {{quoted}}}]}""",
            $$"""{"sha": "{{ModelServer.Commit}}", "siblings": { {{quoted}}: 1} }""",
            $$"""{ {{quoted}}: {{quoted}} }""",
            Hostile,
        ];
        foreach (string answer in answers)
        {
            server.Plan("api", new Behaviour { Body = System.Text.Encoding.UTF8.GetBytes(answer) });
            StellaResult result = Download();
            Assert.That(result.ExitCode, Is.EqualTo(5).Or.EqualTo(3), result.Error);
            Assert.That(result.Error, Does.Not.Contain("\nerror: all is well"));
        }

        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string modules = File.ReadAllText(folder.File("modules.json"));
        File.WriteAllText(folder.File("modules.json"), modules.Replace("\"2_Dense_1024\"", quoted, StringComparison.Ordinal));
        using var other = new ModelServer(folder.Path);
        StellaResult head = Download("--endpoint", other.Endpoint);
        Fails(head, 3, @"\u{1b}]0;title");
        Assert.That(head.Error, Does.Not.Contain("\nerror: all is well"));
    }

    [Test]
    public void Listed_paths_that_lead_out_of_the_folder_are_not_written()
    {
        server.AlsoListed.AddRange(["../evil.json", "/tmp/evil.json", "2_Dense_/../../config.json", "2_Dense_x/../model.safetensors"]);
        Succeeds(Download("--dir", home.File("model")));
        Assert.That(server.Requests.Select(request => request.Path), Has.None.Contains("evil").And.None.Contains(".."));
        Assert.That(Directory.EnumerateFiles(home.Path, "evil*", SearchOption.AllDirectories), Is.Empty);
    }

    [Test]
    public void A_file_with_more_bytes_than_published_is_refused()
    {
        using var larger = new TemporaryFolder();
        larger.CopyFrom(Fixtures.Model("tiny-new"));
        using var other = new ModelServer(larger.Path);
        File.AppendAllText(larger.File("config.json"), new string(' ', 10));
        string elsewhere = $"{other.Endpoint}/{ModelServer.Model}/resolve/{ModelServer.Commit}/config.json";
        server.Plan("config.json", new Behaviour { Status = 302, Headers = [$"Location: {elsewhere}"] });
        Fails(Download(), 3, "config.json: The server sent more than the expected 930 bytes.");
    }

    [Test]
    public void Offline_opens_no_connection_and_names_missing_files()
    {
        Fails(Download("--offline"), 3, SystemPath.Of("refs/main"), $"stella download {ModelServer.Model}");
        Succeeds(Download());
        server.Requests.Clear();
        StellaResult complete = Download("--offline");
        Succeeds(complete);
        Assert.That(complete.Output.Trim(), Is.EqualTo(Snapshot));
        var variables = Variables();
        variables["HF_HUB_OFFLINE"] = "1";
        Fails(StellaProcess.RunWith(variables, Arguments("--dimension", "256")), 2, "2_Dense_256", "1024");
        File.Delete(Path.Combine(Snapshot, "tokenizer.json"));
        Fails(StellaProcess.RunWith(variables, Arguments()), 3, "no tokenizer.json");
        Assert.That(server.Requests, Is.Empty);
    }

    [Test]
    public void Invalid_names_and_values_are_wrong_usage()
    {
        Fails(Download("--dimension", "512"), 2, "2_Dense_512", "1024, 256, 768");
        Fails(Stella("download", "no-name"), 2, "ORG/NAME");
        Fails(Download("--revision", "../x"), 2, "not the name of a branch");
        Fails(Download("--endpoint", "ftp://x"), 2, "ftp://x");
    }

    [Test]
    public void A_model_that_is_not_in_the_cache_is_reported_with_the_download_command() =>
        Fails(Stella("embed", "x", "--model", ModelServer.Model), 3, "neither a folder", $"stella download {ModelServer.Model}");

    [Test]
    public void Shards_of_the_index_are_downloaded()
    {
        using var sharded = new ModelServer(Fixtures.Model("tiny-qwen2-sharded"));
        Succeeds(Download("--endpoint", sharded.Endpoint));
        Assert.That(sharded.RequestsFor("model-00002-of-00002.safetensors"), Has.Length.EqualTo(1));
        Succeeds(Stella("embed", "x", "--model", ModelServer.Model));
    }

    /// <summary>Creates a self-signed certificate for 127.0.0.1.</summary>
    private static X509Certificate2 CreateCertificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, false, 0, true));
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
    }

    private StellaResult Download(params string[] more) => StellaProcess.RunWith(Variables(), Arguments(more));

    private StellaResult Stella(params string[] arguments) => StellaProcess.RunWith(Variables(), arguments);

    private static string[] Arguments(params string[] more) => ["download", ModelServer.Model, .. more];

    private Dictionary<string, string?> Variables() => server.Variables(home.Path);

    private static byte[] Fixture(string file) => File.ReadAllBytes(Path.Combine(Fixtures.Model("tiny-new"), file));

    private static void Flip(string path)
    {
        byte[] content = File.ReadAllBytes(path);
        content[^1] ^= 1;
        File.WriteAllBytes(path, content);
    }

    private static void Succeeds(StellaResult result) => Assert.That(result.ExitCode, Is.Zero, result.Error);

    private static void Fails(StellaResult result, int exitCode, params string[] expectedTexts)
    {
        Assert.That(result.ExitCode, Is.EqualTo(exitCode), result.Error);
        Assert.That(result.Error, Does.Not.Contain("   at "), "no stack trace");
        foreach (string text in expectedTexts)
        {
            Assert.That(result.Error, Does.Contain(text));
        }
    }
}
