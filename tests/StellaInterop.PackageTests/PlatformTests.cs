using System.IO.Compression;
using System.Text.RegularExpressions;

namespace StellaInterop.PackageTests;

/// <summary>A program is built only for the platforms for which the package StellaInterop has a native library.</summary>
internal sealed class PlatformTests
{
    /// <summary>Platforms that no package supports. To NuGet, the second is a kind of linux-x64.</summary>
    private const string Unsupported = "win-x86", OtherLibc = "linux-bionic-x64";

    private static readonly string[] Packaged = ReadPlatforms();

    private static PackageWorkspace PackageWorkspace => Programs.PackageWorkspace;

    [TestCase("Console", Unsupported)]
    [TestCase("Console", OtherLibc)]
    [TestCase("Plugin", Unsupported)]
    [TestCase("Worker", Unsupported, Description = "This program references the package through StellaInterop.Extensions.")]
    public void A_program_for_a_platform_without_a_library_is_not_built(string name, string rid) =>
        AssertRefused(Run("build", name, rid, "--no-self-contained", "-p:UseAppHost=false"), rid);

    [TestCase("--self-contained")]
    [TestCase("-p:PublishSingleFile=true")]
    [TestCase("-p:PublishAot=true")]
    public void A_program_for_a_platform_without_a_library_is_not_published(string kind) =>
        AssertRefused(Run("publish", "Trimmed", Unsupported, kind), Unsupported);

    /// <summary>NuGet takes the library of linux-x64 for musl if the package has no better one, but musl cannot load it.</summary>
    [TestCase("linux-x64", "linux-x64")]
    [TestCase("debian-x64", "linux-x64")]
    [TestCase("linux-musl-x64", "linux-musl-x64")]
    [TestCase("alpine-x64", "linux-musl-x64")]
    public void A_platform_is_supported_if_the_package_has_a_library_for_its_processor_and_C_library(string rid, string packaged)
    {
        ProgramRun run = Run("build", "Console", rid, "--no-self-contained", "-p:UseAppHost=false", "-p:UseRidGraph=true");
        if (Packaged.Contains(packaged))
        {
            Assert.That(run.ExitCode, Is.Zero, run.Output);
        }
        else
        {
            AssertRefused(run, rid);
        }
    }

    [Test]
    public void A_program_that_brings_its_own_library_is_built_for_any_platform()
    {
        ProgramRun run = Run("build", "Console", Unsupported, "--no-self-contained", "-p:UseAppHost=false", "-p:StellaAllowMissingNativeLibrary=true");
        Assert.That(run.ExitCode, Is.Zero, run.Output);
    }

    [Test]
    public void A_class_library_is_built_for_any_platform()
    {
        ProgramRun run = Run("build", "Plugin", Unsupported, "--no-self-contained", "-p:EnableDynamicLoading=false");
        Assert.That(run.ExitCode, Is.Zero, run.Output);
    }

    /// <summary>Runs the SDK without the downloads of other platforms, which these builds do not reach or need.</summary>
    private static ProgramRun Run(string verb, string name, string rid, params string[] arguments) => PackageWorkspace.TryDotNet(
        [verb, $"apps/{name}", "-c", "Release", "-r", rid, "-p:EnableAppHostPackDownload=false", "-p:EnableRuntimePackDownload=false", .. arguments]);

    /// <summary>Asserts that a build failed with one error, which names the platform, those of the package, and the remedy.</summary>
    private static void AssertRefused(ProgramRun run, string rid)
    {
        Assert.That(run.ExitCode, Is.EqualTo(1), run.Output);
        string[] errors = [.. run.Lines.Where(line => line.Contains("error ")).Select(line => Regex.Match(line, "error (.*) \\[").Groups[1].Value).Distinct()];
        Assert.That(errors, Has.Length.EqualTo(1), run.Output);
        Match message = Regex.Match(
            errors[0],
            @"^STELLA0001: The package StellaInterop has no native library for (?<rid>\S+): build for one of its platforms \((?<packaged>.+)\), "
            + @"or set StellaAllowMissingNativeLibrary to true if the program brings its own library\.$");
        Assert.That(message.Groups["rid"].Value, Is.EqualTo(rid), errors[0]);
        Assert.That(message.Groups["packaged"].Value.Split(", "), Is.EquivalentTo(Packaged), errors[0]);
    }

    private static string[] ReadPlatforms()
    {
        using ZipArchive package = ZipFile.OpenRead(Path.Combine(PackageWorkspace.Feed, $"StellaInterop.{PackageWorkspace.Version}.nupkg"));
        return [.. package.Entries.Select(entry => Regex.Match(entry.FullName, "^runtimes/(.+)/native/")).Where(match => match.Success).Select(match => match.Groups[1].Value)];
    }
}
