using StellaInterop.ModelFiles;

namespace StellaInterop.Tests;

/// <summary>Tests <c>stella manifest</c> and <c>stella verify</c>.</summary>
internal sealed class ManifestCommandTests
{
    [Test]
    public void Verify_finds_files_that_changed_after_the_manifest()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        StellaResult made = StellaProcess.Run("manifest", folder.Path);
        Assert.That((made.ExitCode, made.Output.Trim()), Is.EqualTo((0, folder.File(StellaManifest.FileName))), made.Error);
        StellaResult good = StellaProcess.Run("verify", folder.Path);
        string[] lines = good.Output.TrimEnd().Split('\n');
        Assert.That((good.ExitCode, good.Error), Is.EqualTo((0, "")));
        Assert.That(lines, Has.Length.EqualTo(13).And.All.StartWith("good "));

        byte[] weights = File.ReadAllBytes(folder.File("model.safetensors"));
        weights[^1] ^= 1;
        File.WriteAllBytes(folder.File("model.safetensors"), weights);
        File.Delete(folder.File("tokenizer.json"));
        StellaResult bad = StellaProcess.Run("verify", folder.Path);
        Assert.That(bad.ExitCode, Is.EqualTo(3));
        Assert.That(bad.Output, Does.Contain("wrong hash    model.safetensors").And.Contain("missing       tokenizer.json"));
        Assert.That(bad.Error, Does.StartWith("error: 2 of 13 files do not match"));
    }

    [Test]
    public void A_manifest_may_be_outside_of_the_model_folder()
    {
        using var elsewhere = new TemporaryFolder();
        string manifest = elsewhere.File("mine.json");
        Assert.That(StellaProcess.Run("manifest", Fixtures.Model("tiny-new"), "--output", manifest).ExitCode, Is.Zero);
        Assert.That(StellaProcess.Run("verify", Fixtures.Model("tiny-new"), "--manifest", manifest).ExitCode, Is.Zero);
        Assert.That(File.Exists(Path.Combine(Fixtures.Model("tiny-new"), StellaManifest.FileName)), Is.False);
        StellaResult other = StellaProcess.Run("verify", Fixtures.Model("tiny-qwen2"), "--manifest", manifest);
        Assert.That(other.ExitCode, Is.EqualTo(3));
        Assert.That(other.Output, Does.Contain("wrong size    config.json"));
        StellaResult missing = StellaProcess.Run("verify", Fixtures.Model("tiny-new"), "--manifest", elsewhere.File("none"));
        Assert.That(missing.ExitCode, Is.EqualTo(3));
        Assert.That(missing.Error, Does.Contain($"{elsewhere.File("none")} does not exist"));
    }

    /// <summary>A file that replaces a device would receive everything that other programs write to the device.</summary>
    [Test]
    [Platform("Linux,MacOsX")]
    public void A_pipe_or_a_device_as_output_is_not_replaced()
    {
        using var folder = new TemporaryFolder();
        (string pipe, string none, string empty, string full) =
            (folder.File("pipe"), folder.File("none"), folder.File("empty"), folder.File("full"));
        Unix.MakeFifo(pipe);
        File.CreateSymbolicLink(none, "/dev/null");
        File.CreateSymbolicLink(full, "/dev/full");
        File.WriteAllText(empty, "");
        string command = $"stella manifest {Fixtures.Model("tiny-new")} --output";
        StellaResult result = StellaProcess.RunScript(
            $"exec 2>&1; ({command} {none}; {command} {empty}) > /dev/null; cat {pipe} & {command} {pipe} > /dev/null; wait; {command} {full}");
        Assert.That(result.ExitCode, Is.Not.Zero);
        string[] lines = result.Output.Split("error: ");
        Assert.That(lines[0], Is.EqualTo(File.ReadAllText(empty)).And.StartsWith("{"));
        Assert.That(lines[1], Does.StartWith($"{full} cannot be written"));
        Assert.That(Directory.GetFiles(folder.Path), Is.EquivalentTo(new[] { pipe, none, empty, full }));
        Assert.That(File.Exists(pipe) && new FileInfo(pipe).Length == 0);
        Assert.That(new[] { none, full }.Select(link => new FileInfo(link).LinkTarget), Is.EqualTo(new[] { "/dev/null", "/dev/full" }));
    }

    /// <summary>A run that waits fails after half a minute.</summary>
    [Test]
    [Platform("Linux,MacOsX")]
    public void A_pipe_or_a_device_in_the_folder_is_reported_without_waiting()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        Assert.That(StellaProcess.Run("manifest", folder.Path).ExitCode, Is.Zero);
        File.Delete(folder.File("config.json"));
        Unix.MakeFifo(folder.File("config.json"));
        File.Delete(folder.File("tokenizer.json"));
        File.CreateSymbolicLink(folder.File("tokenizer.json"), "/dev/zero");
        StellaResult verified = StellaProcess.RunLimited("verify", folder.Path);
        Assert.That(verified.ExitCode, Is.EqualTo(3), verified.Error);
        Assert.That(verified.Output, Does.Contain("wrong size    config.json").And.Contain("wrong size    tokenizer.json"));
        StellaResult made = StellaProcess.RunLimited("manifest", folder.Path);
        Assert.That(made.ExitCode, Is.EqualTo(3), made.Error);
        Assert.That(made.Error, Does.StartWith($"error: {folder.File("config.json")} is empty or not a regular file"));

        string manifest = folder.File(StellaManifest.FileName);
        File.Delete(manifest);
        Unix.MakeFifo(manifest);
        StellaResult pipe = StellaProcess.RunLimited("verify", folder.Path);
        Assert.That(pipe.ExitCode, Is.EqualTo(3), pipe.Error);
        Assert.That(pipe.Error, Does.StartWith($"error: {manifest} is empty or not a regular file"));
        File.Delete(manifest);
        File.CreateSymbolicLink(manifest, "/dev/zero");
        Assert.That(StellaProcess.RunLimited("verify", folder.Path).Error, Does.StartWith($"error: {manifest} is empty or not"));
    }

    [Test]
    public void Without_a_manifest_the_hashes_are_written()
    {
        StellaResult result = StellaProcess.Run("verify", Fixtures.Model("tiny-new"));
        string hash = StellaManifest.Create(Fixtures.Model("tiny-new")).Files["2_Dense_256/model.safetensors"].Sha256;
        Assert.That(result.ExitCode, Is.Zero);
        Assert.That(result.Output, Does.Contain($"{hash}  2_Dense_256/model.safetensors\n"));
        Assert.That(result.Error, Does.StartWith("note: There is no manifest"));
    }
}
