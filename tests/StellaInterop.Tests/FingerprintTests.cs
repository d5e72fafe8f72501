using System.Security.Cryptography;
using System.Text;
using StellaInterop.ModelFiles;

namespace StellaInterop.Tests;

/// <summary>The fingerprint of a model through the public surface.</summary>
internal sealed class FingerprintTests
{
    /// <summary>Files that no load reads. <c>vocab.txt</c>, <c>vocab.json</c> and <c>merges.txt</c> repeat <c>tokenizer.json</c>.</summary>
    private static readonly string[] NotRead =
        ["vocab.txt", "vocab.json", "merges.txt", "README.md", "LICENSE", StellaManifest.FileName];

    private static IEnumerable<string> Forms() =>
        ["tiny-new", "tiny-qwen2-sharded", "../forms/models/gte-qwen2-eos-config", "../forms/models/gte-native"];

    private static IEnumerable<string> Models() => [.. Forms(), "stella-mini"];

    [TestCaseSource(nameof(Models))]
    public void The_fingerprint_is_the_hash_of_the_lines_of_sha256sum(string name)
    {
        string folder = Tree.Model(name);
        using var model = StellaModel.Load(folder);
        string[] files = [.. Files(folder).Where(file => !NotRead.Contains(file) && !IsOfAnotherHead(file, model.Info.DefaultDimension))];
        Assert.That(Fingerprint(folder), Is.EqualTo(Compute(files, file => SHA256.HashData(File.ReadAllBytes(Path.Combine(folder, file))))));
    }

    /// <summary>Whether a file belongs to another head than that of a dimension.</summary>
    private static bool IsOfAnotherHead(string file, int dimension) =>
        file.StartsWith("2_Dense_", StringComparison.Ordinal) && file.Split('/')[0] != $"2_Dense_{dimension}";

    [TestCaseSource(nameof(Forms))]
    public void One_changed_byte_in_a_file_that_a_load_reads_changes_the_fingerprint(string name)
    {
        using TemporaryFolder folder = Tree.Copy(name);
        File.WriteAllText(folder.File("README.md"), "no part of a model");
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

        Assert.That(unchanged, Is.SubsetOf(NotRead));
        Assert.That(Fingerprints(folder.Path), Is.EqualTo(before), "the same bytes, at another time");
    }

    [Test]
    public void A_folder_a_manifest_and_a_cache_give_the_same_fingerprint([Values("tiny-new", "tiny-qwen2-sharded")] string name)
    {
        using TemporaryFolder folder = Tree.Copy(name);
        string expected = Fingerprint(Tree.Model(name));
        Assert.That(Fingerprint(folder.Path), Is.EqualTo(expected), "another folder");
        StellaManifest.Create(folder.Path).Save(folder.File(StellaManifest.FileName));
        Assert.That(Fingerprint(folder.Path), Is.EqualTo(expected), "with a manifest");
        if (!OperatingSystem.IsWindows())
        {
            using var cache = new TemporaryFolder();
            Assert.That(Fingerprint(Snapshot(Tree.Model(name), cache, SHA256.HashData)), Is.EqualTo(expected), "in a cache");
        }
    }

    [Test]
    public void The_names_of_blobs_are_taken_instead_of_reading_them()
    {
        if (OperatingSystem.IsWindows())
        {
            // A cache there holds files in place of links.
            return;
        }

        // The hash of other bytes shows that no blob was read.
        static byte[] Other(byte[] bytes) => SHA256.HashData([.. bytes, 1]);
        using var cache = new TemporaryFolder();
        string folder = Tree.Model("tiny-new");
        string snapshot = Snapshot(folder, cache, Other);
        string expected = Compute(Files(folder).Where(file => !IsOfAnotherHead(file, 1024)), file =>
        {
            byte[] bytes = File.ReadAllBytes(Path.Combine(folder, file));
            return IsLarge(file) ? Other(bytes) : SHA256.HashData(bytes);
        });
        Assert.That(Fingerprint(snapshot), Is.EqualTo(expected));
    }

    [Test]
    public void A_load_computes_no_fingerprint_and_a_file_that_changed_since_is_an_error()
    {
        using TemporaryFolder folder = Tree.Copy("tiny-new");
        using var model = StellaModel.Load(folder.Path);
        File.AppendAllText(folder.File("2_Dense_1024/config.json"), " ");
        for (int i = 0; i < 2; i++)
        {
            // One that the load had computed would be returned here.
            var error = Assert.Throws<StellaModelFolderException>(() => model.GetFingerprint());
            Assert.That(error!.Message, Does.Contain("2_Dense_1024").And.Contain("Load the model again."));
        }
    }

    [Test]
    public void A_fingerprint_is_kept_for_the_life_of_the_model()
    {
        using TemporaryFolder folder = Tree.Copy("tiny-new");
        using var model = StellaModel.Load(folder.Path);
        string[] found = new string[8];
        Parallel.For(0, found.Length, i => found[i] = model.GetFingerprint());
        Assert.That(found, Is.All.EqualTo(Fingerprint(Tree.Model("tiny-new"))));
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

    /// <summary>The fingerprints of all dimensions.</summary>
    private static string[] Fingerprints(string folder)
    {
        using var model = StellaModel.Load(folder);
        return [.. model.Info.Dimensions.Select(dimension => model.GetFingerprint(dimension))];
    }

    /// <summary>The files of a folder in the order of the bytes of their paths.</summary>
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

    /// <summary>Changes one byte so that the model still loads: a space behind JSON, the last bit of the first number of weights.</summary>
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

    /// <summary>Makes a snapshot of a Hugging Face cache: large files are links to blobs that are named after their SHA-256, others after a hash of 40 digits.</summary>
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
