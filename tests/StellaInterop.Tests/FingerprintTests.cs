using System.Security.Cryptography;
using System.Text;
using StellaInterop.ModelFiles;

namespace StellaInterop.Tests;

/// <summary>The fingerprint of a model, tested through the public API.</summary>
internal sealed class FingerprintTests
{
    /// <summary>Files that a load does not read. <c>vocab.txt</c>, <c>vocab.json</c> and <c>merges.txt</c> repeat <c>tokenizer.json</c>.</summary>
    private static readonly string[] UnreadFiles =
        ["vocab.txt", "vocab.json", "merges.txt", "README.md", "LICENSE", StellaManifest.FileName];

    private static IEnumerable<string> Forms() =>
        ["tiny-new", "tiny-qwen2-sharded", "../forms/models/gte-qwen2-eos-config", "../forms/models/gte-native"];

    private static IEnumerable<string> Models() => [.. Forms(), "stella-mini"];

    [TestCaseSource(nameof(Models))]
    public void The_fingerprint_is_the_hash_of_the_sha256sum_lines(string name)
    {
        string folder = Fixtures.Model(name);
        using var model = StellaModel.Load(folder);
        string[] files = [.. Files(folder).Where(file => !UnreadFiles.Contains(file) && !IsOfAnotherHead(file, model.Info.DefaultDimension))];
        Assert.That(Fingerprint(folder), Is.EqualTo(Compute(files, file => SHA256.HashData(File.ReadAllBytes(Path.Combine(folder, file))))));
    }

    /// <summary>Returns whether a file belongs to the head of another dimension.</summary>
    private static bool IsOfAnotherHead(string file, int dimension) =>
        file.StartsWith("2_Dense_", StringComparison.Ordinal) && file.Split('/')[0] != $"2_Dense_{dimension}";

    [TestCaseSource(nameof(Forms))]
    public void One_changed_byte_in_any_file_that_a_load_reads_changes_the_fingerprint(string name)
    {
        using TemporaryFolder folder = Fixtures.Copy(name);
        File.WriteAllText(folder.File("README.md"), "not a file of the model");
        string[] before = Fingerprints(folder.Path);
        var unchanged = new List<string>();
        foreach (string file in Files(folder.Path))
        {
            string path = folder.File(file);
            byte[] bytes = File.ReadAllBytes(path);
            File.WriteAllBytes(path, Changed(file, bytes));
            if (Fingerprints(folder.Path).SequenceEqual(before))
            {
                unchanged.Add(file);
            }

            File.WriteAllBytes(path, bytes);
        }

        Assert.That(unchanged, Is.SubsetOf(UnreadFiles));
        Assert.That(Fingerprints(folder.Path), Is.EqualTo(before), "the same bytes with a new write time");
    }

    [Test]
    public void The_fingerprint_is_the_same_in_another_folder_with_a_manifest_and_in_a_cache([Values("tiny-new", "tiny-qwen2-sharded")] string name)
    {
        using TemporaryFolder folder = Fixtures.Copy(name);
        string expected = Fingerprint(Fixtures.Model(name));
        Assert.That(Fingerprint(folder.Path), Is.EqualTo(expected), "in another folder");
        StellaManifest.Create(folder.Path).Save(folder.File(StellaManifest.FileName));
        Assert.That(Fingerprint(folder.Path), Is.EqualTo(expected), "with a manifest");
        if (!OperatingSystem.IsWindows())
        {
            using var cache = new TemporaryFolder();
            Assert.That(Fingerprint(Snapshot(Fixtures.Model(name), cache, SHA256.HashData)), Is.EqualTo(expected), "in a cache");
        }
    }

    [Test]
    public void The_fingerprint_uses_the_names_of_cache_blobs_instead_of_reading_them()
    {
        if (OperatingSystem.IsWindows())
        {
            // On Windows a cache holds copies instead of links.
            return;
        }

        // The blobs are named after the hash of other bytes, which shows that they are not read.
        static byte[] Other(byte[] bytes) => SHA256.HashData([.. bytes, 1]);
        using var cache = new TemporaryFolder();
        string folder = Fixtures.Model("tiny-new");
        string snapshot = Snapshot(folder, cache, Other);
        string expected = Compute(Files(folder).Where(file => !IsOfAnotherHead(file, 1024)), file =>
        {
            byte[] bytes = File.ReadAllBytes(Path.Combine(folder, file));
            return IsLarge(file) ? Other(bytes) : SHA256.HashData(bytes);
        });
        Assert.That(Fingerprint(snapshot), Is.EqualTo(expected));
    }

    [Test]
    public void A_fingerprint_is_computed_on_demand_and_refused_if_a_file_changed_after_the_load()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        using var model = StellaModel.Load(folder.Path);
        File.AppendAllText(folder.File("2_Dense_1024/config.json"), " ");
        for (int i = 0; i < 2; i++)
        {
            // A fingerprint that the load had computed would be returned here.
            var error = Assert.Throws<StellaModelFolderException>(() => model.GetFingerprint());
            Assert.That(error!.Message, Does.Contain("2_Dense_1024").And.Contain("Load the model again."));
        }
    }

    [Test]
    public void A_computed_fingerprint_is_kept_until_the_model_is_disposed()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        using var model = StellaModel.Load(folder.Path);
        string[] found = new string[8];
        Parallel.For(0, found.Length, i => found[i] = model.GetFingerprint());
        Assert.That(found, Is.All.EqualTo(Fingerprint(Fixtures.Model("tiny-new"))));
        File.Delete(folder.File("config.json"));
        Assert.That(model.GetFingerprint(), Is.EqualTo(found[0]));
        model.Dispose();
        Assert.Throws<ObjectDisposedException>(() => model.GetFingerprint());
    }

    private static string Fingerprint(string folder)
    {
        using var model = StellaModel.Load(folder);
        return model.GetFingerprint();
    }

    /// <summary>Returns the fingerprints of all dimensions.</summary>
    private static string[] Fingerprints(string folder)
    {
        using var model = StellaModel.Load(folder);
        return [.. model.Info.Dimensions.Select(dimension => model.GetFingerprint(dimension))];
    }

    /// <summary>Returns the relative paths of the files in a folder, in ordinal order.</summary>
    private static string[] Files(string folder) =>
    [
        .. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Select(file => Path.GetRelativePath(folder, file).Replace('\\', '/'))
            .Order(StringComparer.Ordinal),
    ];

    private static string Compute(IEnumerable<string> files, Func<string, byte[]> hash)
    {
        string lines = string.Concat(files.Select(file => $"{Convert.ToHexStringLower(hash(file))}  {file}\n"));
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(lines)));
    }

    /// <summary>Changes one byte so that the model still loads: appends a space to JSON, or flips the lowest bit of the first weight.</summary>
    private static byte[] Changed(string file, byte[] bytes)
    {
        if (!file.EndsWith(".safetensors", StringComparison.Ordinal))
        {
            return [.. bytes, (byte)' '];
        }

        byte[] changed = [.. bytes];
        changed[8 + (int)BitConverter.ToInt64(bytes)] ^= 1;
        return changed;
    }

    private static bool IsLarge(string file) => file.EndsWith(".safetensors", StringComparison.Ordinal) || file == "tokenizer.json";

    /// <summary>
    /// Creates a snapshot of a Hugging Face cache, whose files are links to blobs. The blob of a large file is named after its SHA-256, the
    /// blob of another file after a hash of 40 digits.
    /// </summary>
    private static string Snapshot(string folder, TemporaryFolder cache, Func<byte[], byte[]> hash)
    {
        string repository = cache.File("models--org--name");
        string snapshot = Path.Combine(repository, "snapshots", new string('a', 40));
        Directory.CreateDirectory(Path.Combine(repository, "blobs"));
        foreach (string file in Files(folder))
        {
            byte[] bytes = File.ReadAllBytes(Path.Combine(folder, file));
            string digits = Convert.ToHexStringLower(hash(bytes));
            string blob = Path.Combine(repository, "blobs", IsLarge(file) ? digits : digits[..40]);
            File.WriteAllBytes(blob, bytes);
            string link = Path.Combine(snapshot, file);
            Directory.CreateDirectory(Path.GetDirectoryName(link)!);
            File.CreateSymbolicLink(link, blob);
        }

        return snapshot;
    }
}
