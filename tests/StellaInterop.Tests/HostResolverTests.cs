using System.Diagnostics;
using System.Runtime.InteropServices;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>The library works in a host with its own DllImport resolver, or the error says what the resolver must return.</summary>
[Parallelizable(ParallelScope.Children)]
internal sealed class HostResolverTests
{
    private const string Dimension = "1024";

    [TestCase(HostResolverProgram.Kind.ReturnsTheLibrary)]
    [TestCase(HostResolverProgram.Kind.ReturnsNothing)]
    public void A_model_loads_if_the_resolver_returns_the_library_or_nothing(HostResolverProgram.Kind kind) =>
        Assert.That(Run(kind), Is.EqualTo(new[] { Dimension, Dimension, Dimension }));

    [TestCase(HostResolverProgram.Kind.ReturnsAnotherLibrary, "stella_abi_version")]
    [TestCase(HostResolverProgram.Kind.Throws, "The resolver is broken.")]
    [TestCase(HostResolverProgram.Kind.UsesTheLibrary, "without using the library")]
    public void A_resolver_that_fails_or_returns_another_library_is_reported_with_the_remedy(HostResolverProgram.Kind kind, string expected)
    {
        string[] lines = Run(kind);
        Assert.That(lines, Has.Length.EqualTo(3));
        Assert.That(lines, Has.All.StartsWith("StellaNativeLibraryNotFoundException: The host has set its own DllImport resolver"));
        Assert.That(lines, Has.All.Contains(expected).And.All.Contains("Let the resolver return"));
    }

    [Test]
    public void A_model_loads_after_the_resolver_has_recovered()
    {
        string[] lines = Run(HostResolverProgram.Kind.ThrowsTheFirstTime);
        Assert.That(lines[0], Does.StartWith("StellaNativeLibraryNotFoundException: "));
        Assert.That(lines[1..], Is.EqualTo(new[] { Dimension, Dimension }));
    }

    [Test]
    public void A_model_loads_if_the_resolver_uses_the_library_and_catches_the_error()
    {
        string[] lines = Run(HostResolverProgram.Kind.UsesTheLibraryAndCatches);
        Assert.That(lines[0], Does.StartWith("StellaNativeLibraryNotFoundException: ").And.Contain("without using the library"));
        Assert.That(lines[1..], Is.EqualTo(new[] { Dimension, Dimension, Dimension }));
    }

    [Test]
    public void A_resolver_can_wait_for_another_thread_that_loads_a_model() =>
        Assert.That(Run(HostResolverProgram.Kind.LoadsOnAnotherThread), Is.EqualTo(new[] { Dimension, Dimension, Dimension, Dimension }));

    [Test]
    [Platform("Linux")]
    public void A_resolver_takes_precedence_over_an_unusable_file_with_the_name_of_the_library()
    {
        using var folder = new TemporaryFolder();
        folder.CopyFrom(Path.GetDirectoryName(Program)!);
        string name = Path.GetFileName(LibraryPath);
        // A native library without the exports of StellaInterop.
        File.Copy(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "libSystem.Native.so"), folder.File(name), overwrite: true);
        string program = folder.File(Path.GetFileName(Program));
        Assert.That(Run(HostResolverProgram.Kind.ReturnsTheLibrary, program), Is.EqualTo(new[] { Dimension, Dimension, Dimension }));
        Assert.That(
            Run(HostResolverProgram.Kind.ReturnsNothing, program),
            Has.All.StartsWith("StellaNativeLibraryNotFoundException: ").And.All.Contains("Let the resolver return the handle"));
    }

    private static string Program => typeof(ChildProgram).Assembly.Location;

    private static string LibraryPath => Directory
        .EnumerateFiles(AppContext.BaseDirectory, "*stella_interop.*", SearchOption.AllDirectories)
        .First(file => Path.GetExtension(file) is ".so" or ".dylib" or ".dll");

    private static string[] Run(HostResolverProgram.Kind kind) => Run(kind, Program);

    private static string[] Run(HostResolverProgram.Kind kind, string program)
    {
        using Process child = ChildProgram.StartCopy(program, HostResolverProgram.Command, kind.ToString(), LibraryPath);
        return ChildProgram.OutputOf(child).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
