using System.Diagnostics;
using System.Runtime.InteropServices;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>The library works in a host with its own DllImport resolver, or says what the resolver has to return.</summary>
[Parallelizable(ParallelScope.Children)]
internal sealed class HostResolverTests
{
    private const string Good = "1024";

    [TestCase(HostResolver.Kind.ReturnsTheLibrary)]
    [TestCase(HostResolver.Kind.ReturnsNothing)]
    public void A_resolver_that_leads_to_the_library_is_used(HostResolver.Kind kind) =>
        Assert.That(Run(kind), Is.EqualTo(new[] { Good, Good, Good }));

    [TestCase(HostResolver.Kind.ReturnsAnotherLibrary, "stella_abi_version")]
    [TestCase(HostResolver.Kind.Throws, "The resolver is broken.")]
    [TestCase(HostResolver.Kind.CallsBack, "without using the library")]
    public void A_resolver_that_leads_elsewhere_is_named_with_what_to_do(HostResolver.Kind kind, string says)
    {
        string[] lines = Run(kind);
        Assert.That(lines, Has.Length.EqualTo(3));
        Assert.That(lines, Has.All.StartsWith("StellaNativeLibraryNotFoundException: The host has set its own DllImport resolver"));
        Assert.That(lines, Has.All.Contains(says).And.All.Contains("Let the resolver return"));
    }

    [Test]
    public void A_load_after_the_resolver_has_recovered_succeeds()
    {
        string[] lines = Run(HostResolver.Kind.ThrowsTheFirstTime);
        Assert.That(lines[0], Does.StartWith("StellaNativeLibraryNotFoundException: "));
        Assert.That(lines[1..], Is.EqualTo(new[] { Good, Good }));
    }

    [Test]
    public void A_resolver_that_calls_back_and_catches_the_error_is_used()
    {
        string[] lines = Run(HostResolver.Kind.CallsBackAndGoesOn);
        Assert.That(lines[0], Does.StartWith("StellaNativeLibraryNotFoundException: ").And.Contain("without using the library"));
        Assert.That(lines[1..], Is.EqualTo(new[] { Good, Good, Good }));
    }

    [Test]
    public void A_resolver_may_wait_for_another_thread_that_loads() =>
        Assert.That(Run(HostResolver.Kind.LoadsOnAnotherThread), Is.EqualTo(new[] { Good, Good, Good, Good }));

    [Test]
    [Platform("Linux")]
    public void A_resolver_that_leads_to_the_library_is_used_beside_a_file_of_its_name_that_does_not_serve()
    {
        using var folder = new TemporaryFolder();
        folder.Take(Path.GetDirectoryName(Program)!);
        string name = Path.GetFileName(LibraryPath);
        // Any library that the system loads.
        File.Copy(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "libSystem.Native.so"), folder.File(name), overwrite: true);
        string program = folder.File(Path.GetFileName(Program));
        Assert.That(Run(HostResolver.Kind.ReturnsTheLibrary, program), Is.EqualTo(new[] { Good, Good, Good }));
        Assert.That(
            Run(HostResolver.Kind.ReturnsNothing, program),
            Has.All.StartsWith("StellaNativeLibraryNotFoundException: ").And.All.Contains("Let the resolver return the handle"));
    }

    private static string Program => typeof(ChildProgram).Assembly.Location;

    private static string LibraryPath => Directory
        .EnumerateFiles(AppContext.BaseDirectory, "*stella_interop.*", SearchOption.AllDirectories)
        .First(file => Path.GetExtension(file) is ".so" or ".dylib" or ".dll");

    private static string[] Run(HostResolver.Kind kind) => Run(kind, Program);

    private static string[] Run(HostResolver.Kind kind, string program)
    {
        using Process child = ChildProgram.StartCopy(program, HostResolver.Command, kind.ToString(), LibraryPath);
        return ChildProgram.OutputOf(child).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
