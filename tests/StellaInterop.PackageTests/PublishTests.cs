namespace StellaInterop.PackageTests;

/// <summary>The library is found in each layout in which a program is published.</summary>
internal sealed class PublishTests
{
    private static Workshop Workshop => Programs.Workshop;

    [Test]
    public void A_publish_for_any_platform_keeps_the_folders_of_the_package()
    {
        Publish("portable");
        Assert.That(File.Exists(Workshop.At($"portable/runtimes/{Workshop.Rid}/native/{Workshop.LibraryFile}")));
        AssertRanks("portable");
    }

    [Test]
    public void A_publish_for_this_platform_has_the_library_beside_the_program()
    {
        Publish("flat", "-r", Workshop.Rid, "--no-self-contained");
        Assert.That(File.Exists(Workshop.At($"flat/{Workshop.LibraryFile}")));
        AssertRanks("flat");
    }

    [TestCase("single", false)]
    [TestCase("extracted", true)]
    public void A_single_file_finds_the_library_beside_it_or_in_it(string output, bool isInside)
    {
        Publish(
            output, "-r", Workshop.Rid, "--no-self-contained", "-p:PublishSingleFile=true", $"-p:IncludeNativeLibrariesForSelfExtract={isInside}");
        Assert.That(File.Exists(Workshop.At($"{output}/StellaInterop.dll")), Is.False);
        Assert.That(File.Exists(Workshop.At($"{output}/{Workshop.LibraryFile}")), Is.EqualTo(!isInside));
        AssertRanks(output);
    }

    private static void Publish(string output, params string[] arguments) => Workshop.Publish("Console", output, arguments);

    private static void AssertRanks(string output) => Ranking.AssertWrittenBy(ProgramRun.Alone(Workshop.Program(output, "Console")));
}
