using StellaInterop.ModelFiles;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Finding a model by name in a Hugging Face cache.</summary>
internal sealed class HuggingFaceCacheTests
{
    private const string Model = "NovaSearch/stella_en_400M_v5";
    private const string Commit = "ffeb2b7ee715c226d4ffe5e4619f7dbb48624c20";

    [Test]
    public void Branches_tags_and_commits_resolve_to_their_snapshot()
    {
        using var folder = new TemporaryFolder();
        string repository = folder.File("models--NovaSearch--stella_en_400M_v5");
        string snapshot = Path.Combine(repository, "snapshots", Commit);
        Directory.CreateDirectory(snapshot);
        Directory.CreateDirectory(Path.Combine(repository, "refs/pr"));
        File.WriteAllText(Path.Combine(repository, "refs/main"), Commit);
        File.WriteAllText(Path.Combine(repository, "refs/pr/2"), Commit + "\n");
        var cache = new HuggingFaceCache(folder.Path);
        Assert.Multiple(() =>
        {
            Assert.That(cache.GetModelFolder(Model), Is.EqualTo(snapshot));
            Assert.That(cache.GetModelFolder(Model, "pr/2"), Is.EqualTo(snapshot));
            Assert.That(cache.GetModelFolder(Model, Commit), Is.EqualTo(snapshot));
            Assert.That((cache.TryGetModelFolder(Model, "pr/2", out string? found), found), Is.EqualTo((true, snapshot)));
            Assert.That((cache.TryGetModelFolder(Model, "pr/3", out string? missing), missing), Is.EqualTo((false, (string?)null)));
            Assert.That(() => cache.TryGetModelFolder(Model, "a b", out _), Throws.ArgumentException);
            Assert.That(() => cache.TryGetModelFolder("no model", "main", out _), Throws.ArgumentException);
        });

        File.WriteAllText(Path.Combine(repository, "refs/main"), "../../..");
        var error = Assert.Throws<StellaModelFolderException>(() => cache.GetModelFolder(Model));
        Assert.That(error!.Message, Does.Contain(Path.Combine("refs", "main")).And.Contain("does not hold a commit"));
        Assert.That(() => cache.TryGetModelFolder(Model, "main", out _), Throws.TypeOf<StellaModelFolderException>());
    }

    [Test]
    public void A_missing_model_is_reported_with_its_path_and_the_download_command()
    {
        using var folder = new TemporaryFolder();
        var cache = new HuggingFaceCache(folder.Path);
        var main = Assert.Throws<StellaModelFolderException>(() => cache.GetModelFolder(Model));
        var commit = Assert.Throws<StellaModelFolderException>(() => cache.GetModelFolder(Model, Commit));
        Assert.Multiple(() =>
        {
            Assert.That(main!.Code, Is.EqualTo(StellaErrorCode.ModelFolderNotFound));
            Assert.That(main.Message, Does.Contain(Path.Combine(folder.File("models--NovaSearch--stella_en_400M_v5"), "refs", "main")));
            Assert.That(main.Message, Does.EndWith($"stella download {Model}"));
            Assert.That(commit!.Message, Does.Contain(Path.Combine("snapshots", Commit)).And.EndWith($"--revision {Commit}"));
        });
    }

    [Test]
    public void The_error_for_a_missing_revision_lists_twenty_revisions_and_counts_the_others()
    {
        using var folder = new TemporaryFolder();
        string repository = folder.File("models--NovaSearch--stella_en_400M_v5");
        Directory.CreateDirectory(Path.Combine(repository, "snapshots", Commit));
        Directory.CreateDirectory(Path.Combine(repository, "refs"));
        for (int i = 0; i < 3000; i++)
        {
            File.WriteAllText(Path.Combine(repository, "refs", $"v{i:0000}"), Commit);
        }

        File.WriteAllText(Path.Combine(repository, "refs", "broken"), "no commit");
        var missing = Assert.Throws<StellaModelFolderException>(() => new HuggingFaceCache(folder.Path).GetModelFolder(Model))!;
        Assert.That(missing.Message, Does.Contain("The cache has v0000, v0001,").And.Contain(", v0019 and 2980 more. Get it with"));
    }

    [TestCase("../x")]
    [TestCase("org/..")]
    [TestCase("/etc")]
    [TestCase("org/name/more")]
    [TestCase("name")]
    [TestCase("org--x/name")]
    [TestCase("org/na\\me")]
    [TestCase(".org/name")]
    [TestCase("org/name\n")]
    public void An_invalid_model_name_is_refused(string name)
    {
        Assert.That(HuggingFaceCache.IsModelName(name), Is.False);
        Assert.That(() => new HuggingFaceCache("/cache").GetModelFolder(name), Throws.ArgumentException.With.Message.Contains("org/name"));
    }

    [TestCase("v1+fix", "--revision v1+fix")]
    [TestCase("feature/a#1", "--revision feature/a#1")]
    [TestCase("v1@2", "--revision v1@2")]
    [TestCase("#1", "--revision '#1'")]
    [TestCase("größe", "--revision 'größe'")]
    [TestCase("a$(b)'c", """--revision 'a$(b)'\''c'""")]
    [TestCase("refs/pr/7", "--revision refs/pr/7")]
    public void A_revision_name_that_git_allows_is_found_and_quoted_in_the_error(string revision, string option)
    {
        using var folder = new TemporaryFolder();
        var cache = new HuggingFaceCache(folder.Path);
        string repository = cache.GetRepositoryFolder(Model);
        var missing = Assert.Throws<StellaModelFolderException>(() => cache.GetModelFolder(Model, revision))!;
        Assert.That(missing.Message, Does.EndWith(option));
        string reference = Path.Combine(repository, "refs", revision);
        Directory.CreateDirectory(Path.GetDirectoryName(reference)!);
        File.WriteAllText(reference, Commit);
        string snapshot = Directory.CreateDirectory(Path.Combine(repository, "snapshots", Commit)).FullName;
        Assert.That(cache.GetModelFolder(Model, revision), Is.EqualTo(snapshot));
    }

    [TestCase("../../x")]
    [TestCase("/etc/passwd")]
    [TestCase("a//b")]
    [TestCase("a/../b")]
    [TestCase("")]
    [TestCase("-x")]
    [TestCase("@")]
    [TestCase("a b")]
    [TestCase("a~1")]
    [TestCase("a^")]
    [TestCase("a:b")]
    [TestCase("a?")]
    [TestCase("a*")]
    [TestCase("a[0]")]
    [TestCase("a\\b")]
    [TestCase("a\n")]
    [TestCase("a\x7f")]
    [TestCase("a@{1}")]
    [TestCase(".a")]
    [TestCase("a/.b")]
    [TestCase("a.lock")]
    [TestCase("a.lock/b")]
    [TestCase("a.")]
    [TestCase("a/")]
    public void An_invalid_revision_is_refused(string revision) =>
        Assert.That(() => new HuggingFaceCache("/cache").GetModelFolder(Model, revision), Throws.ArgumentException);

    [Test]
    public async Task The_model_name_defaults_to_the_repository_or_the_folder()
    {
        using var folder = new TemporaryFolder();
        string snapshot = Path.Combine(folder.Path, "models--org--tiny.v1", "snapshots", Commit);
        foreach (string file in Directory.EnumerateFiles(Fixtures.Model("tiny-new"), "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(snapshot, Path.GetRelativePath(Fixtures.Model("tiny-new"), file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }

        var options = new StellaModelOptions { Threads = 1 };
        foreach ((string path, StellaModelOptions given, string name) in new[]
        {
            (snapshot, options, "org/tiny.v1"),
            (snapshot + "/", options, "org/tiny.v1"),
            (Fixtures.Model("tiny-new"), options, "tiny-new"),
            (snapshot, options with { Name = "mine" }, "mine"),
        })
        {
            using StellaModel model = StellaModel.Load(path, given);
            Assert.That(model.Info.Name, Is.EqualTo(name));
            await using var pool = new StellaEmbeddingPool(path, given);
            Assert.That(pool.ModelName, Is.EqualTo(name));
        }
    }
}
