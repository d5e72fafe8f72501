namespace StellaInterop.Tests;

/// <summary>
/// Every folder of <see cref="HostileFolders"/> is given to <c>stella embed</c> in a process of its own, because what must
/// not happen would end this one.
/// </summary>
[Parallelizable(ParallelScope.Children)]
internal sealed class HostileFolderTests
{
    private static readonly Dictionary<string, Lazy<StellaResult>> Unchanged = Golden.Models.ToDictionary(
        model => model, model => new Lazy<StellaResult>(() => Embed(Fixtures.Model(model))));

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Headers))]
    public void A_header(HostileFolder folder) => Meets(folder);

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Tensors))]
    public void Tensors(HostileFolder folder) => Meets(folder);

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Settings))]
    public void Settings(HostileFolder folder) => Meets(folder);

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Files))]
    public void Files(HostileFolder folder) => Meets(folder);

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.UnixFiles))]
    [Platform("Linux,MacOsX")]
    public void Unix_files(HostileFolder folder) => Meets(folder);

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Good))]
    public void Odd_and_good(HostileFolder folder) => Meets(folder);

    /// <summary>The layout of the Hugging Face cache lies outside of the folder that is loaded, and is allowed to.</summary>
    [Test]
    [Platform("Linux,MacOsX")]
    public void A_snapshot_whose_files_are_links_to_blobs_loads()
    {
        using var cache = new TemporaryFolder();
        string repository = cache.File("models--org--name");
        string snapshot = Path.Combine(repository, "snapshots", new string('0', 40));
        Directory.CreateDirectory(Path.Combine(repository, "blobs"));
        string source = Fixtures.Model("tiny-new");
        foreach (string file in Directory.EnumerateFiles(source, "*", SearchOption.AllDirectories))
        {
            string name = Path.GetRelativePath(source, file);
            string blob = Path.Combine(repository, "blobs", name.Replace('/', '-'));
            string link = Path.Combine(snapshot, name);
            Directory.CreateDirectory(Path.GetDirectoryName(link)!);
            File.Copy(file, blob);
            File.CreateSymbolicLink(link, Path.GetRelativePath(Path.GetDirectoryName(link)!, blob));
        }

        Loads(Embed(snapshot), "tiny-new");
    }

    /// <summary>
    /// Configuration, headers and files agree on a model of terabytes: only the memory is missing. The files are holes, of
    /// which a disk stores nothing.
    /// </summary>
    [Test]
    [Platform("Linux")]
    public void A_model_of_terabytes_is_refused_for_want_of_memory()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        long bytes = HostileFolders.Enlarge(folder);
        Assert.That(bytes, Is.GreaterThan(1L << 40));
        StellaResult result = Embed(folder.Path);
        Assert.That(result.ExitCode, Is.EqualTo(1), result.Error);
        Assert.That(result.Error, Does.Match("^error: Could not allocate [0-9]{12,} bytes for the encoder of the model in "));
        Assert.That(result.Error, Does.Contain(folder.Path).And.Not.Contain("panicked"));
    }

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Found))]
    public void What_was_found(HostileFolder folder) => Meets(folder);

    [Test]
    [Platform("Linux")]
    public void The_limit_under_which_folders_are_read_is_one()
    {
        // 300 MB of text need more than that in memory, whatever is done with them.
        using var folder = new TemporaryFolder();
        using (FileStream text = File.Create(folder.File("text")))
        {
            text.SetLength(300 << 20);
        }

        StellaResult result = StellaProcess.RunLimited(
            "tokenize", "--input", folder.File("text"), "--model", Fixtures.Model("tiny-new"));
        Assert.That(result.ExitCode, Is.Not.Zero);
        Assert.That(result.Error, Does.Contain("memory").IgnoreCase);
    }

    private static void Meets(HostileFolder hostile)
    {
        using TemporaryFolder folder = Fixtures.Copy(hostile.Model);
        hostile.Change(folder);
        StellaResult result = Embed(folder.Path);
        if (hostile.Fate == Fate.Loaded || (hostile.Fate == Fate.Either && result.ExitCode == 0))
        {
            Loads(result, hostile.Model);
            return;
        }

        // A signal would be 128 and its number, a panic 1.
        Assert.That(result.ExitCode, Is.EqualTo(3), result.Error);
        Assert.That(result.Output, Is.Empty);
        Assert.That(result.Error, Does.StartWith("error: ").And.Contain(folder.Path).And.Not.Contain("   at "));
        foreach (string says in hostile.Says)
        {
            Assert.That(result.Error, Does.Contain(says));
        }
    }

    private static void Loads(StellaResult result, string model)
    {
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(result.Output, Is.EqualTo(Unchanged[model].Value.Output).And.Not.Empty);
    }

    private static StellaResult Embed(string folder) => StellaProcess.RunLimited("embed", "river stone", "--model", folder);
}
