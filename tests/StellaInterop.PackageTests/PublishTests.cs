namespace StellaInterop.PackageTests;

/// <summary>A published program finds the native library in each publish layout.</summary>
internal sealed class PublishTests
{
    private static PackageWorkspace PackageWorkspace => Programs.PackageWorkspace;

    [Test]
    public void A_portable_publish_keeps_the_runtimes_folder_of_the_package()
    {
        Publish("portable");
        Assert.That(File.Exists(PackageWorkspace.At($"portable/runtimes/{PackageWorkspace.Rid}/native/{PackageWorkspace.LibraryFile}")));
        AssertRanks("portable");
    }

    [Test]
    public void A_platform_specific_publish_has_the_library_next_to_the_program()
    {
        Publish("flat", "-r", PackageWorkspace.Rid, "--no-self-contained");
        Assert.That(File.Exists(PackageWorkspace.At($"flat/{PackageWorkspace.LibraryFile}")));
        AssertRanks("flat");
    }

    [TestCase("single", false)]
    [TestCase("extracted", true)]
    public void A_single_file_program_finds_the_library_next_to_it_or_inside_it(string output, bool isInside)
    {
        Publish(
            output, "-r", PackageWorkspace.Rid, "--no-self-contained", "-p:PublishSingleFile=true", $"-p:IncludeNativeLibrariesForSelfExtract={isInside}");
        Assert.That(File.Exists(PackageWorkspace.At($"{output}/StellaInterop.dll")), Is.False);
        Assert.That(File.Exists(PackageWorkspace.At($"{output}/{PackageWorkspace.LibraryFile}")), Is.EqualTo(!isInside));
        AssertRanks(output);
    }

    private static void Publish(string output, params string[] arguments) => PackageWorkspace.Publish("Console", output, arguments);

    private static void AssertRanks(string output) => Ranking.AssertWrittenBy(ProgramRun.RunIsolated(PackageWorkspace.Program(output, "Console")));
}
