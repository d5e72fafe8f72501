namespace StellaInterop.Tests;

/// <summary>Tests the options --check-weights and --load-mode.</summary>
internal sealed class LoadingOptionTests
{
    [Test]
    public void Weights_that_are_not_finite_are_never_written_as_vectors()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string file = folder.File("model.safetensors");
        byte[] bytes = File.ReadAllBytes(file);
        BitConverter.TryWriteBytes(bytes.AsSpan(^400), float.PositiveInfinity);
        File.WriteAllBytes(file, bytes);
        StellaResult checkedResult = StellaProcess.Run("embed", "river", "--model", folder.Path);
        Assert.That(checkedResult.ExitCode, Is.EqualTo(3), checkedResult.Error);
        Assert.That(checkedResult.Error, Does.Contain("model.safetensors").And.Contain("finite"));
        StellaResult uncheckedResult = StellaProcess.Run("embed", "river", "--model", folder.Path, "--check-weights", "off");
        Assert.That(uncheckedResult.ExitCode, Is.EqualTo(3), uncheckedResult.Error);
        Assert.That(uncheckedResult.Error, Does.StartWith($"error: {folder.Path}: ").And.Contain("caused by: The vector of text 0 is not finite"));
        Assert.That(uncheckedResult.Output, Is.Empty, "the vector is not written");
    }

    [TestCase("copied")]
    [TestCase("mapped")]
    public void A_manifest_is_verified_in_both_load_modes(string mode)
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        Assert.That(StellaProcess.Run("manifest", folder.Path).ExitCode, Is.Zero);
        string[] embed = ["embed", "river", "--model", folder.Path, "--load-mode", mode];
        Assert.That(StellaProcess.Run(embed).ExitCode, Is.Zero);
        string file = folder.File("model.safetensors");
        byte[] bytes = File.ReadAllBytes(file);
        bytes[^400] ^= 1;
        File.WriteAllBytes(file, bytes);
        StellaResult changed = StellaProcess.Run(embed);
        Assert.That(changed.ExitCode, Is.EqualTo(3));
        Assert.That(changed.Error, Does.Contain("model.safetensors").And.Contain("BLAKE3"));
    }
}
