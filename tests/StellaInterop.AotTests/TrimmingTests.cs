using StellaInterop.PackageTests;

namespace StellaInterop.AotTests;

/// <summary>Programs that reference the packages and are trimmed or compiled ahead of time. The trimmer analyzes the whole library.</summary>
internal sealed class TrimmingTests
{
    private const long MaxAotBytes = 15_000_000;

    private readonly PackageWorkspace workspace = new();

    [OneTimeTearDown]
    public void Remove() => workspace.Dispose();

    [TestCase("Trimmed", "trimmed", "-p:PublishTrimmed=true")]
    [TestCase("Trimmed", "aot", "-p:PublishAot=true")]
    [TestCase("Cached", "cached-trimmed", "-p:PublishTrimmed=true")]
    [TestCase("Cached", "cached-aot", "-p:PublishAot=true")]
    public void A_trimmed_or_AOT_program_publishes_without_warnings_and_ranks_texts(string name, string output, string kind)
    {
        ProgramRun publish = workspace.Publish(name, output, "-r", PackageWorkspace.Rid, "--self-contained", kind);
        Assert.That(publish.Output, Does.Not.Contain("warning"));
        Ranking.AssertWrittenBy(ProgramRun.RunIsolated(workspace.Program(output, name)));
        if (output == "aot")
        {
            AssertIsSmall(output);
        }
    }

    /// <summary>Asserts the size of the program without the native library, the model and the symbols.</summary>
    private void AssertIsSmall(string output)
    {
        string[] others = [PackageWorkspace.LibraryFile, "Trimmed.dbg", "Trimmed.pdb"];
        long size = new DirectoryInfo(workspace.At(output)).EnumerateFiles().Where(file => !others.Contains(file.Name)).Sum(file => file.Length);
        TestContext.Out.WriteLine($"{size:N0} bytes");
        Assert.That(size, Is.InRange(1L, MaxAotBytes));
    }
}
