namespace StellaInterop.Tests;

/// <summary>
/// Runs <c>stella embed</c> on every folder of <see cref="HostileFolders"/>, in a separate process, because a failure could crash
/// the process.
/// </summary>
[Parallelizable(ParallelScope.Children)]
internal sealed class HostileFolderTests
{
    private static readonly Dictionary<string, Lazy<StellaResult>> Unchanged = Golden.Models.ToDictionary(
        model => model, model => new Lazy<StellaResult>(() => Embed(Fixtures.Model(model))));

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Headers))]
    public void A_hostile_header_is_refused(HostileFolder folder) => CheckOutcome(folder);

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Tensors))]
    public void Hostile_tensors_are_refused(HostileFolder folder) => CheckOutcome(folder);

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Settings))]
    public void Hostile_settings_are_refused(HostileFolder folder) => CheckOutcome(folder);

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Files))]
    public void Hostile_shards_and_manifests_are_refused(HostileFolder folder) => CheckOutcome(folder);

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.UnixFiles))]
    [Platform("Linux,MacOsX")]
    public void Hostile_unix_files_are_refused(HostileFolder folder) => CheckOutcome(folder);

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Valid))]
    public void Unusual_but_valid_folders_load(HostileFolder folder) => CheckOutcome(folder);

    /// <summary>The blobs of the Hugging Face cache are outside of the loaded folder, and links to them are allowed.</summary>
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

        CheckLoaded(Embed(snapshot), "tiny-new");
    }

    /// <summary>
    /// Configuration, headers and files of a model of terabytes are consistent, so only the memory is insufficient. The files are
    /// sparse and take no disk space.
    /// </summary>
    [Test]
    [Platform("Linux")]
    public void A_model_of_terabytes_is_refused_for_lack_of_memory()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        long bytes = HostileFolders.Enlarge(folder);
        Assert.That(bytes, Is.GreaterThan(1L << 40));
        StellaResult result = Embed(folder.Path);
        Assert.That(result.ExitCode, Is.EqualTo(1), result.Error);
        Assert.That(result.Error, Does.Match("^error: Could not allocate [0-9]{12,} bytes for the encoder of the model in "));
        Assert.That(result.Error, Does.Contain(folder.Path).And.Not.Contain("panicked"));
    }

    [TestCaseSource(typeof(HostileFolders), nameof(HostileFolders.Regressions))]
    public void Folders_that_once_crashed_or_were_misread_are_refused(HostileFolder folder) => CheckOutcome(folder);

    [Test]
    [Platform("Linux")]
    public void The_memory_limit_of_the_tests_is_effective()
    {
        // Reading 300 MB of text needs more memory than the limit.
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

    private static void CheckOutcome(HostileFolder hostile)
    {
        using TemporaryFolder folder = Fixtures.Copy(hostile.Model);
        hostile.Change(folder);
        StellaResult result = Embed(folder.Path);
        if (hostile.Outcome == Outcome.Loaded || (hostile.Outcome == Outcome.Either && result.ExitCode == 0))
        {
            CheckLoaded(result, hostile.Model);
            return;
        }

        // A signal would exit with 128 plus its number, and a panic with 1.
        Assert.That(result.ExitCode, Is.EqualTo(3), result.Error);
        Assert.That(result.Output, Is.Empty);
        Assert.That(result.Error, Does.StartWith("error: ").And.Contain(folder.Path).And.Not.Contain("   at "));
        foreach (string text in hostile.ExpectedTexts)
        {
            Assert.That(result.Error, Does.Contain(text));
        }
    }

    private static void CheckLoaded(StellaResult result, string model)
    {
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(result.Output, Is.EqualTo(Unchanged[model].Value.Output).And.Not.Empty);
    }

    private static StellaResult Embed(string folder) => StellaProcess.RunLimited("embed", "river stone", "--model", folder);
}
