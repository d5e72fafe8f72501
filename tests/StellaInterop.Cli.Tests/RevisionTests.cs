using StellaInterop.ModelFiles;

namespace StellaInterop.Tests;

/// <summary>Tests <c>--revision</c>, which chooses the snapshot of a model in the Hugging Face cache.</summary>
internal sealed class RevisionTests : IDisposable
{
    private const string Model = "test-org/tiny";
    private static readonly string Main = new('a', 40);
    private static readonly string Other = new('b', 40);
    private static readonly string Unnamed = new('c', 40);

    private readonly TemporaryFolder home = new();

    [OneTimeSetUp]
    public void FillTheCache()
    {
        Take(Main, "tiny-new");
        Take(Other, "tiny-qwen2");
        Take(Unnamed, "tiny-new");
        foreach ((string name, string commit) in new[] { ("main", Main), ("v1/fixed", Other), ("refs/pr/7", Other), ("gone", new string('d', 40)) })
        {
            string reference = Path.Combine(Repository, "refs", name);
            Directory.CreateDirectory(Path.GetDirectoryName(reference)!);
            File.WriteAllText(reference, commit);
        }
    }

    public void Dispose() => home.Dispose();

    private string Repository => home.File("hub/models--test-org--tiny");

    [TestCase("v1/fixed", "Qwen2")]
    [TestCase("refs/pr/7", "Qwen2")]
    [TestCase("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "Qwen2")]
    [TestCase("main", "NewModel")]
    [TestCase(null, "NewModel")]
    public void A_branch_a_tag_a_pull_request_and_a_commit_choose_the_snapshot(string? revision, string architecture)
    {
        StellaResult result = Stella(["info", "--model", Model, .. revision is null ? [] : new[] { "--revision", revision }]);
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((0, "")));
        Assert.That(result.Output, Does.Contain(architecture));
    }

    [Test]
    public void Every_command_that_accepts_a_model_of_the_cache_accepts_its_revision()
    {
        string byFolder = Stella("embed", "river", "--model", Snapshot(Other)).Output;
        Assert.That(Stella("embed", "river", "--model", Model, "--revision", "v1/fixed").Output, Is.EqualTo(byFolder).And.Not.Empty);
        string ids = Stella("tokenize", "river", "--model", Snapshot(Other)).Output;
        Assert.That(Stella("tokenize", "river", "--model", Model, "--revision", "v1/fixed").Output, Is.EqualTo(ids).And.Not.Empty);
        string ranks = Stella("similarity", "river", "stone", "--model", Snapshot(Other)).Output;
        Assert.That(Stella("similarity", "river", "stone", "--model", Model, "--revision", "v1/fixed").Output, Is.EqualTo(ranks).And.Not.Empty);
        string hashes = Stella("verify", Snapshot(Other)).Output;
        Assert.That(Stella("verify", Model, "--revision", "v1/fixed").Output, Is.EqualTo(hashes).And.Contain("model.safetensors"));
        string manifest = home.File("manifest.json");
        Assert.That(Stella("manifest", Model, "--revision", "v1/fixed", "--output", manifest).ExitCode, Is.Zero);
        Assert.That(StellaManifest.Load(manifest).Verify(Snapshot(Other)).IsValid);
    }

    [Test]
    public void A_missing_revision_is_reported_with_the_available_revisions_and_the_download_command()
    {
        foreach (string[] command in new string[][] { ["info", "--model", Model], ["verify", Model], ["manifest", Model] })
        {
            StellaResult result = Stella([.. command, "--revision", "v2"]);
            Assert.That(result.ExitCode, Is.EqualTo(3));
            Assert.That(result.Error, Does.StartWith("error: test-org/tiny at revision v2 is not in the Hugging Face cache"));
            Assert.That(result.Error, Does.Contain($"The cache has main, refs/pr/7, v1/fixed, {Unnamed}."), "the list includes commits without a name, and excludes revisions without a snapshot");
            Assert.That(result.Error.TrimEnd(), Does.EndWith("Get it with: stella download test-org/tiny --revision v2"));
        }
    }

    [Test]
    public void A_revision_of_a_folder_or_of_the_shipped_model_is_wrong_usage()
    {
        Fails(Stella("embed", "x", "--model", Fixtures.Model("tiny-new"), "--revision", "main"), "is a folder");
        Fails(Stella("verify", Fixtures.Model("tiny-new"), "--revision", "main"), "is a folder");
        Fails(Stella("manifest", "/no/such/folder", "--revision", "main"), "is not of the form ORG/NAME");
        Fails(Stella("info", "--revision", "main"), "--model ORG/NAME");
        Fails(Stella("info", "--model", Model, "--revision", "../../x"), "'../../x' is not the name of a branch");

        static void Fails(StellaResult result, string says)
        {
            Assert.That((result.ExitCode, result.Output), Is.EqualTo((2, "")), result.Error);
            Assert.That(result.Error, Does.StartWith("error: ").And.Contain(says));
        }
    }

    private string Snapshot(string commit) => Path.Combine(Repository, "snapshots", commit);

    private void Take(string commit, string model)
    {
        foreach (string file in Directory.EnumerateFiles(Fixtures.Model(model), "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(Snapshot(commit), Path.GetRelativePath(Fixtures.Model(model), file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
    }

    private StellaResult Stella(params string[] arguments) => StellaProcess.RunWith(
        new Dictionary<string, string?> { ["HF_HOME"] = home.Path, ["HF_HUB_CACHE"] = null }, arguments);
}
