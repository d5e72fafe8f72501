namespace StellaInterop.Tests;

/// <summary>Tests that <c>stella</c> interprets the environment variables of Hugging Face like huggingface_hub.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
internal sealed class HubEnvironmentTests : IDisposable
{
    private const string Repository = "models--test-org--tiny-new";

    private readonly ModelServer server = new(Fixtures.Model("tiny-new"));
    private readonly TemporaryFolder home = new();

    public void Dispose()
    {
        server.Dispose();
        home.Dispose();
    }

    /// <summary>Each case has the folder of the cache, relative to the home folder, and the variables that set it.</summary>
    [TestCase("c", "HF_HUB_CACHE=HOME/c", "HUGGINGFACE_HUB_CACHE=HOME/other", "HF_HOME=HOME/other")]
    [TestCase("c", "HF_HUB_CACHE=~/c")]
    [TestCase("c/d", "HF_HUB_CACHE=$ROOT/c/${LEAF}", "ROOT=HOME", "LEAF=d")]
    [TestCase("$UNKNOWN/c", "HF_HUB_CACHE=~/$UNKNOWN/c")]
    [TestCase("c", "HUGGINGFACE_HUB_CACHE=$ROOT/c", "ROOT=HOME", "HF_HOME=HOME/other")]
    [TestCase("h/hub", "HF_HUB_CACHE=", "HUGGINGFACE_HUB_CACHE=", "HF_HOME=~/h", "XDG_CACHE_HOME=HOME/other")]
    [TestCase("d/h/hub", "HF_HOME=$ROOT/h", "ROOT=HOME/d")]
    [TestCase("x/huggingface/hub", "HF_HOME=", "XDG_CACHE_HOME=$ROOT/x", "ROOT=HOME")]
    [TestCase(".cache/huggingface/hub", "HF_HOME=", "XDG_CACHE_HOME=")]
    public void The_variables_set_the_folder_of_the_cache(string cache, params string[] settings)
    {
        string repository = home.File($"{cache}/{Repository}");
        settings = [.. settings, "HOME=HOME", "USERPROFILE=HOME"];
        StellaResult result = Download(settings);
        Assert.That((result.ExitCode, SystemPath.Of(result.Output)), Is.EqualTo((0, SystemPath.Of($"{repository}/snapshots/{ModelServer.Commit}\n"))), result.Error);
        Assert.That(Directory.EnumerateDirectories(home.Path, Repository, SearchOption.AllDirectories), Is.EqualTo(new[] { repository }));
        Assert.That(Run(settings, "info", "--model", ModelServer.Model).ExitCode, Is.Zero, "info finds the model");
    }

    [TestCase("a", "HF_TOKEN=a", "HUGGING_FACE_HUB_TOKEN=b", "HF_TOKEN_PATH=HOME/file")]
    [TestCase("a", "HF_TOKEN= \r\na\r\n ")]
    [TestCase("b", "HF_TOKEN=", "HUGGING_FACE_HUB_TOKEN=b", "HF_TOKEN_PATH=HOME/file")]
    [TestCase("of_file", "HF_TOKEN= ", "HF_TOKEN_PATH=$ROOT/file", "ROOT=HOME")]
    [TestCase("of_home", "HF_TOKEN_PATH=")]
    [TestCase(null, "HF_TOKEN=a", "HF_HUB_DISABLE_IMPLICIT_TOKEN=1")]
    [TestCase(null, "HF_HUB_DISABLE_IMPLICIT_TOKEN=yes")]
    [TestCase("a", "HF_TOKEN=a", "HF_HUB_DISABLE_IMPLICIT_TOKEN=0")]
    public void The_variables_set_the_token(string? token, params string[] settings)
    {
        File.WriteAllText(home.File("file"), "of_file\n");
        File.WriteAllText(home.File("token"), "of_home\n");
        StellaResult result = Download(settings);
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(
            server.Requests.Select(request => request.Headers.GetValueOrDefault("authorization")).Distinct(),
            Is.EqualTo(new[] { token is null ? null : $"Bearer {token}" }));
    }

    [TestCase(true, "HF_HUB_OFFLINE=1")]
    [TestCase(true, "HF_HUB_OFFLINE=on")]
    [TestCase(true, "HF_HUB_OFFLINE=Yes")]
    [TestCase(true, "HF_HUB_OFFLINE=TRUE")]
    [TestCase(true, "TRANSFORMERS_OFFLINE=1")]
    [TestCase(true, "HF_HUB_OFFLINE=", "TRANSFORMERS_OFFLINE=1")]
    [TestCase(false, "HF_HUB_OFFLINE=0", "TRANSFORMERS_OFFLINE=1")]
    [TestCase(false, "HF_HUB_OFFLINE=2")]
    [TestCase(false, "HF_HUB_OFFLINE=y")]
    public void Offline_is_set_by_the_values_that_huggingface_hub_accepts_as_true(bool isOffline, params string[] settings)
    {
        StellaResult result = Download(settings);
        Assert.That((result.ExitCode, server.Requests.IsEmpty), Is.EqualTo(isOffline ? (3, true) : (0, false)), result.Error);
    }

    [TestCase("api", "HF_HUB_ETAG_TIMEOUT")]
    [TestCase("config.json", "HF_HUB_DOWNLOAD_TIMEOUT")]
    public void A_timeout_applies_to_its_kind_of_request(string file, string name)
    {
        server.Plan(file, new Behaviour { StallAfter = 10 });
        StellaResult result = Download($"{name}=1");
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(result.Error, Does.Contain("warning: 127.0.0.1 sent no data for 1 s."));
        Assert.That(Download($"{name}=0").ExitCode, Is.Zero, "0 is the default");
        StellaResult wrong = Download($"{name}=1.5");
        Assert.That((wrong.ExitCode, wrong.Error), Is.EqualTo((2, $"error: {name} is '1.5'; it must be a number of seconds, 0 (the default) to 3600.\n")));
    }

    [Test]
    public void Without_links_a_snapshot_has_copies()
    {
        Assert.That(Download("HF_HUB_DISABLE_SYMLINKS=1").ExitCode, Is.Zero);
        string snapshot = home.File($"hub/{Repository}/snapshots/{ModelServer.Commit}");
        string[] files = Directory.GetFiles(snapshot, "*", SearchOption.AllDirectories);
        Assert.That(files, Has.Length.GreaterThan(5));
        Assert.That(files.Select(file => new FileInfo(file).LinkTarget), Has.All.Null);
        Assert.That(Run([], "embed", "x", "--model", ModelServer.Model).ExitCode, Is.Zero);

        File.WriteAllText(Path.Combine(snapshot, "config.json"), "{");
        Assert.That(Download("HF_HUB_DISABLE_SYMLINKS=1").ExitCode, Is.Zero);
        Assert.That(Run([], "embed", "x", "--model", ModelServer.Model).ExitCode, Is.Zero, "a damaged copy is replaced");
    }

    [Test]
    public void The_origin_is_sent_in_the_user_agent()
    {
        Assert.That(Download("HF_HUB_USER_AGENT_ORIGIN=partner").ExitCode, Is.Zero);
        Assert.That(server.Requests.Select(request => request.Headers["user-agent"]), Has.All.Matches("^stella/[0-9.]+ origin/partner$"));
        Assert.That(Download("HF_HUB_USER_AGENT_ORIGIN=two words").ExitCode, Is.EqualTo(2));
    }

    [Test]
    [Platform("Linux")]
    public void Progress_bars_can_be_disabled()
    {
        string DownloadOnTerminal(string setting)
        {
            var variables = server.Variables(home.Path);
            variables["HF_HUB_DISABLE_PROGRESS_BARS"] = setting;
            return StellaProcess.RunOnTerminal(variables, "download", ModelServer.Model);
        }

        Assert.That(DownloadOnTerminal("0"), Does.Contain("100%").Or.Contain("\u001b["));
        Assert.That(DownloadOnTerminal("1"), Does.Contain("bytes, checked").And.Not.Contain("\u001b["));
    }

    [Test]
    public void Invalid_entries_of_files_that_are_not_needed_are_ignored()
    {
        server.AlsoListedAs.AddRange(
        [
            new { rfilename = "empty.bin", size = 0, blobId = "no hash", lfs = new { sha256 = "short", size = 0 } },
            new { rfilename = "huge.bin", size = 1e30, lfs = new { oid = 1 } },
            new { rfilename = "2_Dense_8192/model.safetensors", size = "many", lfs = "none" },
            new { name = "without a path" },
            "a text",
        ]);
        StellaResult result = Download();
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        StellaResult needed = Run([], "download", ModelServer.Model, "--dimension", "8192");
        Assert.That(needed.ExitCode, Is.Not.Zero);
    }

    [Test]
    [Platform("Linux,MacOsX")]
    public void Other_entries_of_a_snapshot_are_ignored()
    {
        Assert.That(Download().ExitCode, Is.Zero);
        string snapshot = home.File($"hub/{Repository}/snapshots/{ModelServer.Commit}");
        File.CreateSymbolicLink(Path.Combine(snapshot, "README.md"), "../../blobs/gone");
        File.CreateSymbolicLink(Path.Combine(snapshot, "onnx"), "onnx");
        File.CreateSymbolicLink(home.File($"hub/{Repository}/refs/broken"), "gone");
        Unix.MakeFifo(Path.Combine(snapshot, "pytorch_model.bin"));
        foreach (string[] command in (string[][])[["download", ModelServer.Model], ["download", ModelServer.Model, "--offline"], ["verify", ModelServer.Model],
            ["manifest", ModelServer.Model], ["info", "--model", ModelServer.Model]])
        {
            StellaResult result = Run([], command);
            Assert.That(result.ExitCode, Is.Zero, result.Error);
        }
    }

    private StellaResult Download(params string[] settings) => Run(settings, "download", ModelServer.Model);

    /// <summary>
    /// Runs with variables set by <c>NAME=VALUE</c>. HOME at the start of a value is replaced by the folder of the test.
    /// </summary>
    private StellaResult Run(string[] settings, params string[] arguments)
    {
        Dictionary<string, string?> variables = server.Variables(home.Path);
        foreach (string[] setting in settings.Select(setting => setting.Split('=', 2)))
        {
            variables[setting[0]] = setting[1].StartsWith("HOME", StringComparison.Ordinal) ? home.Path + setting[1][4..] : setting[1];
        }

        return StellaProcess.RunWith(variables, arguments);
    }
}
