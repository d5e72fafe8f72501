using StellaInterop.PackageTests;

namespace StellaInterop.AotTests;

/// <summary>The packages in programs that are trimmed or compiled ahead of time. All of the library is analysed.</summary>
internal sealed class TrimmingTests
{
    private const long MaxAotBytes = 15_000_000;

    private readonly Workshop workshop = new();

    [OneTimeTearDown]
    public void Remove() => workshop.Dispose();

    [TestCase("Trimmed", "trimmed", "-p:PublishTrimmed=true")]
    [TestCase("Trimmed", "aot", "-p:PublishAot=true")]
    [TestCase("Cached", "cached-trimmed", "-p:PublishTrimmed=true")]
    [TestCase("Cached", "cached-aot", "-p:PublishAot=true")]
    public void It_publishes_without_a_warning_and_ranks_texts(string name, string output, string kind)
    {
        ProgramRun publish = workshop.Publish(name, output, "-r", Workshop.Rid, "--self-contained", kind);
        Assert.That(publish.Output, Does.Not.Contain("warning"));
        Ranking.AssertWrittenBy(ProgramRun.Alone(workshop.Program(output, name)));
        if (output == "aot")
        {
            AssertIsSmall(output);
        }
    }

    /// <summary>The program, without native library, model and symbols.</summary>
    private void AssertIsSmall(string output)
    {
        string[] others = [Workshop.LibraryFile, "Trimmed.dbg", "Trimmed.pdb"];
        long size = new DirectoryInfo(workshop.At(output)).EnumerateFiles().Where(file => !others.Contains(file.Name)).Sum(file => file.Length);
        TestContext.Out.WriteLine($"{size:N0} bytes");
        Assert.That(size, Is.InRange(1L, MaxAotBytes));
    }
}
