using System.Security.Cryptography;
using System.Text.Json;
using StellaInterop.ModelFiles;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Creating, saving, loading and verifying a manifest, and refusing an invalid one.</summary>
internal sealed class ManifestTests
{
    private static readonly string Digits = new('a', 64);

    [Test]
    public void A_manifest_lists_exactly_the_files_that_a_load_reads()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        StellaManifest manifest = StellaManifest.Create(folder.Path);
        string[] expected =
        [
            "1_Pooling/config.json",
            "2_Dense_1024/config.json", "2_Dense_1024/model.safetensors",
            "2_Dense_256/config.json", "2_Dense_256/model.safetensors",
            "2_Dense_768/config.json", "2_Dense_768/model.safetensors",
            "config.json", "config_sentence_transformers.json", "model.safetensors", "modules.json",
            "sentence_bert_config.json", "tokenizer.json",
        ];
        Assert.That(manifest.Files.Keys, Is.EqualTo(expected));
        byte[] weights = File.ReadAllBytes(folder.File("model.safetensors"));
        StellaManifestFile file = manifest.Files["model.safetensors"];
        Assert.That(
            file with { Blake3 = null },
            Is.EqualTo(new StellaManifestFile { Size = weights.Length, Sha256 = Convert.ToHexStringLower(SHA256.HashData(weights)) }));
        Assert.That(manifest.Files.Values.Select(entry => entry.Blake3).ToHashSet(), Has.Count.EqualTo(expected.Length).And.None.Null);
        Assert.That(
            StellaManifest.Create(Fixtures.Model("tiny-qwen2-sharded")).Files.Keys,
            Is.SupersetOf(new[] { "model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors" }));
    }

    [Test]
    public void A_manifest_lists_renamed_module_folders_and_the_model_loads_with_it()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        Directory.Move(folder.File("1_Pooling"), folder.File("pooling"));
        Directory.Move(folder.File("2_Dense_1024"), folder.File("head"));
        string modules = folder.File("modules.json");
        File.WriteAllText(modules, File.ReadAllText(modules).Replace("1_Pooling", "pooling").Replace("2_Dense_1024", "head"));
        StellaManifest manifest = StellaManifest.Create(folder.Path);
        Assert.That(
            manifest.Files.Keys,
            Is.SupersetOf(new[] { "head/config.json", "head/model.safetensors", "pooling/config.json" }));
        manifest.Save(folder.File(StellaManifest.FileName));
        using StellaModel model = StellaModel.Load(folder.Path);
        Assert.That(model.Info.Dimensions, Does.Contain(1024));
    }

    [Test]
    public void A_manifest_lists_renamed_shards_and_the_model_loads_with_it()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-qwen2-sharded");
        string index = folder.File(StellaModelFiles.ShardIndexFileName);
        foreach (int shard in new[] { 1, 2 })
        {
            string name = $"model-0000{shard}-of-00002.safetensors";
            File.Move(folder.File(name), folder.File($"part-{shard}.safetensors"));
            File.WriteAllText(index, File.ReadAllText(index).Replace(name, $"part-{shard}.safetensors"));
        }

        StellaManifest manifest = StellaManifest.Create(folder.Path);
        Assert.That(manifest.Files.Keys, Is.SupersetOf(new[] { "part-1.safetensors", "part-2.safetensors" }));
        manifest.Save(folder.File(StellaManifest.FileName));
        using var model = StellaModel.Load(folder.Path);
        Assert.That(model.GetFingerprint(), Has.Length.EqualTo(64));
    }

    [TestCase("version https://git-lfs.github.com/spec/v1\noid sha256:17e5\nsize 17\n", "utf-8", "Git LFS")]
    [TestCase("<!DOCTYPE html>\n<html>", "utf-8", "HTML page")]
    [TestCase("<!-- login -->", "utf-8", "HTML page")]
    [TestCase("\uFEFF{\"version\": 1}", "utf-8", "byte order mark")]
    [TestCase("\uFEFF{\"version\": 1}", "utf-16", "UTF-16")]
    [TestCase("{\"größe\": 1}", "utf-16", "UTF-16")]
    [TestCase("{\"version\": 1}", "utf-16BE", "UTF-16")]
    public void A_manifest_in_a_wrong_file_format_is_refused_with_the_reason_that_a_model_load_reports(string content, string encoding, string expected)
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string path = folder.File(StellaManifest.FileName);
        File.WriteAllBytes(path, System.Text.Encoding.GetEncoding(encoding).GetBytes(content));
        StellaModelFolderException read = Assert.Throws<StellaModelFolderException>(() => StellaManifest.Load(path))!;
        StellaModelFolderException load = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.Path))!;
        string reason = read.Message[read.Message.IndexOf(path, StringComparison.Ordinal)..][path.Length..].Trim(' ', ':', '.');
        Assert.That(reason, Does.Contain(expected));
        Assert.That(load.Message, Does.Contain(reason));
    }

    [Test]
    public void An_adapter_is_listed_in_a_manifest_and_refused_by_a_load()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        File.WriteAllText(folder.File("adapter_config.json"), "{}");
        Assert.That(StellaManifest.Create(folder.Path).Files.Keys, Does.Contain("adapter_config.json"));
        StellaModelFolderException error = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.Path))!;
        Assert.That(error.Message, Does.Contain("adapter_config.json").And.Contain("merge_and_unload"));
    }

    [Test]
    public void A_saved_manifest_has_the_specified_JSON_and_loads_again()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string path = folder.File(StellaManifest.FileName);
        File.WriteAllText(path, "an older manifest");
        StellaManifest plain = StellaManifest.Create(folder.Path);
        new StellaManifest(plain.Files) { Repository = "org/name", Revision = "abc" }.Save(path);
        JsonElement json = JsonElement.Parse(File.ReadAllText(path));
        StellaManifest read = StellaManifest.Load(path);
        Assert.Multiple(() =>
        {
            Assert.That(json.EnumerateObject().Select(p => p.Name), Is.EqualTo(new[] { "version", "model", "revision", "files" }));
            Assert.That(json.GetProperty("version").GetInt32(), Is.EqualTo(2));
            JsonElement file = json.GetProperty("files").GetProperty("2_Dense_256/model.safetensors");
            Assert.That(file.EnumerateObject().Select(p => p.Name), Is.EqualTo(new[] { "size", "sha256", "blake3" }));
            Assert.That(file.GetProperty("size").GetInt64(), Is.EqualTo(66752));
            Assert.That((read.Repository, read.Revision), Is.EqualTo(("org/name", "abc")));
            Assert.That(read.Files, Is.EqualTo(plain.Files));
            Assert.That(Directory.EnumerateFiles(folder.Path, "*.tmp"), Is.Empty);
        });
        plain.Save(path);
        Assert.That(JsonElement.Parse(File.ReadAllText(path)).EnumerateObject().Select(p => p.Name), Is.EqualTo(new[] { "version", "files" }));
        var error = Assert.Throws<StellaModelFolderException>(() => plain.Save(folder.File("none/file.json")));
        Assert.That(error!.Message, Does.Contain(folder.File("none/file.json")));
    }

    [Test]
    public void Verify_distinguishes_valid_missing_resized_changed_and_unlisted_files()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        StellaManifest manifest = StellaManifest.Create(folder.Path);
        Assert.That(manifest.Verify(folder.Path).IsValid, Is.True);

        File.Delete(folder.File("tokenizer.json"));
        File.AppendAllText(folder.File("config.json"), " ");
        byte[] weights = File.ReadAllBytes(folder.File("model.safetensors"));
        weights[^1] ^= 1;
        File.WriteAllBytes(folder.File("model.safetensors"), weights);
        Directory.CreateDirectory(folder.File("2_Dense_512"));
        File.WriteAllText(folder.File("2_Dense_512/config.json"), "{}");
        File.WriteAllText(folder.File("README.md"), "not a file of the model");

        StellaVerification found = manifest.Verify(folder.Path);
        Dictionary<string, StellaFileState> bad = found.Files
            .Where(file => file.State != StellaFileState.Valid)
            .ToDictionary(file => file.Path, file => file.State);
        Assert.That(found.IsValid, Is.False);
        Assert.That(bad, Is.EquivalentTo(new Dictionary<string, StellaFileState>
        {
            ["tokenizer.json"] = StellaFileState.Missing,
            ["config.json"] = StellaFileState.WrongSize,
            ["model.safetensors"] = StellaFileState.WrongHash,
            ["2_Dense_512/config.json"] = StellaFileState.Unlisted,
        }));
    }

    /// <summary>Computes both hashes of "abc" in one pass. FIPS 180-4 and the BLAKE3 test vectors publish the results.</summary>
    [Test]
    public void SHA256_and_BLAKE3_match_their_published_test_vectors()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("abc"), "abc");
        Assert.That(StellaManifestFile.FromFile(folder.File("abc")), Is.EqualTo(
            new StellaManifestFile
            {
                Size = 3,
                Sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                Blake3 = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            }));
    }

    [Test]
    public void A_manifest_without_BLAKE3_has_version_1_and_is_accepted()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string path = folder.File(StellaManifest.FileName);
        new StellaManifest(StellaManifest.Create(folder.Path).Files
            .Select(file => KeyValuePair.Create(file.Key, file.Value with { Blake3 = null }))).Save(path);
        Assert.That(JsonElement.Parse(File.ReadAllText(path)).GetProperty("version").GetInt32(), Is.EqualTo(1));
        Assert.That(StellaManifest.Load(path).Verify(folder.Path).IsValid, Is.True);
        StellaModel.Load(folder.Path).Dispose();
    }

    [Test]
    public void Verify_reports_which_hash_differs_and_a_load_compares_BLAKE3_if_present()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string path = folder.File(StellaManifest.FileName);
        Dictionary<string, StellaManifestFile> files = StellaManifest.Create(folder.Path).Files.ToDictionary();
        StellaManifestFile right = files["model.safetensors"];
        StellaVerifiedFile Verified(StellaManifestFile listed)
        {
            files["model.safetensors"] = listed;
            new StellaManifest(files).Save(path);
            return StellaManifest.Load(path).Verify(folder.Path).Files.Single(file => file.Path == "model.safetensors");
        }

        Assert.That(Verified(right).State, Is.EqualTo(StellaFileState.Valid));
        StellaModel.Load(folder.Path).Dispose();
        Assert.That(Verified(right with { Sha256 = Digits }).State, Is.EqualTo(StellaFileState.WrongSha256));
        StellaModel.Load(folder.Path).Dispose();
        Assert.That(Verified(right with { Sha256 = Digits, Blake3 = Digits }).State, Is.EqualTo(StellaFileState.WrongHash));
        Assert.That(Verified(right with { Blake3 = Digits }).State, Is.EqualTo(StellaFileState.WrongBlake3));
        var error = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.Path));
        Assert.That(error!.ToString(), Does.Contain("model.safetensors: The file has the BLAKE3 "));
        Assert.That(Verified(right with { Sha256 = Digits, Blake3 = null }).State, Is.EqualTo(StellaFileState.WrongHash));
    }

    [Test]
    public void Progress_ends_at_the_total_and_cancellation_stops_Verify()
    {
        var seen = new List<StellaHashProgress>();
        StellaManifest manifest = StellaManifest.Create(Fixtures.Model("tiny-new"), new ProgressCollector(seen));
        long total = manifest.Files.Values.Sum(file => file.Size);
        Assert.That(seen, Has.All.Matches<StellaHashProgress>(step => step.TotalBytes == total));
        Assert.That(seen.Select(step => step.HashedBytes), Is.Ordered.Ascending);
        Assert.That(seen[^1].HashedBytes, Is.EqualTo(total));
        Assert.That(
            () => manifest.Verify(Fixtures.Model("tiny-new"), null, new CancellationToken(canceled: true)),
            Throws.InstanceOf<OperationCanceledException>());
    }

    [TestCase("../x")]
    [TestCase("/etc/passwd")]
    [TestCase("a//b")]
    [TestCase("a/./b")]
    [TestCase("a\\b")]
    [TestCase("C:/x")]
    [TestCase("")]
    public void A_path_that_may_leave_the_folder_is_refused(string path)
    {
        Assert.That(StellaModelFiles.IsPlainPath(path), Is.False);
        Assert.That(() => new StellaManifest([new(path, new StellaManifestFile { Size = 1, Sha256 = Digits })]), Throws.ArgumentException);
        var files = new Dictionary<string, object> { [path] = new { size = 1, sha256 = Digits } };
        AssertRefused(JsonSerializer.Serialize(new { version = 1, files }), "plain path");
    }

    [TestCase("""{"version":3,"files":{"a":{"sha512":"#"}}}""", "has version 3")]
    [TestCase("""{"version":1,"files":{"a":{"size":1,"sha256":"#","blake3":"#"}}}""", "version 1 does not allow")]
    [TestCase("""{"version":2,"files":{"a":{"size":1,"sha256":"#","blake3":"#0"}}}""", "blake3 that is not 64")]
    [TestCase("""{"version":2,"files":{"a":{"size":1,"blake3":"#"}}}""", "sha256")]
    [TestCase("""{"version":1}""", "not the JSON")]
    [TestCase("""{"version":1,"files":{}}""", "no files")]
    [TestCase("""{"version":1,"files":{"a":null}}""", "sha256")]
    [TestCase("""{"version":1,"files":{"a":{"size":0,"sha256":"#"}}}""", "size above 0")]
    [TestCase("""{"version":1,"files":{"a":{"size":1,"sha256":"#0"}}}""", "64")]
    [TestCase("""{"version":1,"files":{"a":{"size":1}}}""", "sha256")]
    [TestCase("""{"version":1,"files":{"a":{"size":1,"sha256":"#"},"a":{"size":2,"sha256":"#"}}}""", "not the JSON")]
    [TestCase("""{"version":1,"files":{"a":{"size":1,"sha256":"#"},"\u0061":{"size":2,"sha256":"#"}}}""", "not the JSON")]
    [TestCase("""{"version":1,"version":1,"files":{"a":{"size":1,"sha256":"#"}}}""", "not the JSON")]
    [TestCase("""{"version":1,"files":{"a":{"size":1,"sha256":"#"}},"files":{"b":{"size":1,"sha256":"#"}}}""", "not the JSON")]
    [TestCase("""{"version":1,"files":{"a":{"size":1,"size":2,"sha256":"#"}}}""", "not the JSON")]
    [TestCase("""{"version":1,"sign":"x","files":{"a":{"size":1,"sha256":"#"}}}""", "not the JSON")]
    [TestCase("null", "null")]
    [TestCase("", "empty")]
    [TestCase("{", "not the JSON")]
    public void An_invalid_manifest_is_refused(string json, string reason) =>
        AssertRefused(json.Replace("#", Digits, StringComparison.Ordinal), reason);

    [TestCase("[", "]")]
    [TestCase("{\"files\":", "}")]
    public void A_manifest_nested_100000_levels_deep_is_refused(string open, string close) => AssertRefused(
        string.Concat(Enumerable.Repeat(open, 100_000)) + string.Concat(Enumerable.Repeat(close, 100_000)), "not the JSON");

    [Test]
    public void A_missing_model_or_manifest_is_a_typed_error_with_its_path()
    {
        using var folder = new TemporaryFolder();
        var none = Assert.Throws<StellaModelFolderException>(() => StellaManifest.Create(folder.Path));
        var missing = Assert.Throws<StellaModelFolderException>(() => StellaManifest.Create(folder.File("none")));
        var file = Assert.Throws<StellaModelFolderException>(() => StellaManifest.Load(folder.File("none.json")));
        File.WriteAllText(folder.File("config.json"), "");
        var empty = Assert.Throws<StellaModelFolderException>(() => StellaManifest.Create(folder.Path));
        Assert.Multiple(() =>
        {
            Assert.That((none!.Code, none.Message.Contains(folder.Path)), Is.EqualTo((StellaErrorCode.ModelFileMissing, true)));
            Assert.That(missing!.Code, Is.EqualTo(StellaErrorCode.ModelFolderNotFound));
            Assert.That((file!.Code, file.Message.Contains("none.json")), Is.EqualTo((StellaErrorCode.ModelFileMissing, true)));
            Assert.That(empty!.Message, Does.Contain("config.json is empty"));
        });
    }

    [Test]
    public void A_published_file_is_found_by_its_hash()
    {
        const string Weights = "17e549d16172a548a3115739b55575968eb6523653daad76c46b0758e9425032";
        StellaPublishedFile? file = StellaPublishedFiles.Find(Weights);
        Assert.That((file?.Repository, file?.Path, file?.Sha256), Is.EqualTo(("NovaSearch/stella_en_400M_v5", "model.safetensors", Weights)));
        Assert.That(StellaPublishedFiles.Find(Digits), Is.Null);
        Assert.That(StellaPublishedFiles.All, Has.All.Matches<StellaPublishedFile>(
            known => known.Sha256.Length == 64 && HuggingFaceCache.IsCommit(known.Revision) && StellaModelFiles.IsModelFile(known.Path)));
    }

    [TestCase("NovaSearch/stella_en_400M_v5")]
    [TestCase("NovaSearch/stella_en_1.5B_v5")]
    public void The_published_files_include_the_weights_and_every_head_of_a_model(string repository)
    {
        int[] dimensions = [256, 768, 1024, 2048, 4096, 6144, 8192];
        Assert.That(
            StellaPublishedFiles.All.Where(known => known.Repository == repository).Select(known => known.Path),
            Is.EquivalentTo(dimensions.Select(dimension => $"2_Dense_{dimension}/model.safetensors").Append("model.safetensors")));
    }

    private static void AssertRefused(string json, string reason)
    {
        using var folder = new TemporaryFolder();
        string path = folder.File(StellaManifest.FileName);
        File.WriteAllText(path, json);
        var error = Assert.Throws<StellaModelFolderException>(() => StellaManifest.Load(path));
        Assert.That(error!.Code, Is.EqualTo(StellaErrorCode.ModelFileInvalid));
        Assert.That(error.Message, Does.StartWith(path).And.Contain(reason));
    }

    /// <summary>Collects progress reports on the reporting thread, unlike <see cref="Progress{T}"/>.</summary>
    private sealed class ProgressCollector(List<StellaHashProgress> into) : IProgress<StellaHashProgress>
    {
        public void Report(StellaHashProgress value) => into.Add(value);
    }
}
