namespace StellaInterop.Tests;

/// <summary>How the command line loads a model: what it looks at, and against what.</summary>
internal sealed class LoadingOptionTests
{
    [Test]
    public void Weights_that_are_not_finite_are_refused_unless_they_are_not_looked_at()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string file = folder.File("model.safetensors");
        byte[] bytes = File.ReadAllBytes(file);
        BitConverter.TryWriteBytes(bytes.AsSpan(^400), float.PositiveInfinity);
        File.WriteAllBytes(file, bytes);
        StellaResult looked = StellaProcess.Run("embed", "river", "--model", folder.Path);
        Assert.That(looked.ExitCode, Is.EqualTo(3), looked.Error);
        Assert.That(looked.Error, Does.Contain("model.safetensors").And.Contain("finite"));
        StellaResult unseen = StellaProcess.Run("embed", "river", "--model", folder.Path, "--check-weights", "off");
        Assert.That(unseen.ExitCode, Is.EqualTo(3), unseen.Error);
        Assert.That(unseen.Error, Does.StartWith($"error: {folder.Path}: ").And.Contain("caused by: The vector of text 0 is not finite"));
        Assert.That(unseen.Output, Is.Empty, "a vector that is not finite is never written");
    }

    [TestCase("copied")]
    [TestCase("mapped")]
    public void A_manifest_holds_in_both_load_modes(string mode)
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
