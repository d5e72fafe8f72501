using System.Text;

namespace StellaInterop.PackageTests;

/// <summary>The error of a program whose native library is missing or unusable.</summary>
[NonParallelizable]
internal sealed class LoadFailureTests
{
    private static readonly string Program = Programs.PackageWorkspace.Program("broken", "Console");
    private static readonly string Library = Programs.PackageWorkspace.At($"broken/{PackageWorkspace.LibraryFile}");
    private static readonly string Assembly = Programs.PackageWorkspace.At("broken/StellaInterop.dll");

    private byte[] library = [];
    private byte[] assembly = [];

    [OneTimeSetUp]
    public void Publish()
    {
        Programs.PackageWorkspace.Publish("Console", "broken", "-r", PackageWorkspace.Rid, "--no-self-contained");
        (library, assembly) = (File.ReadAllBytes(Library), File.ReadAllBytes(Assembly));
    }

    [TearDown]
    public void Restore()
    {
        File.WriteAllBytes(Library, library);
        File.WriteAllBytes(Assembly, assembly);
    }

    [Test]
    public void A_missing_library_is_reported_with_every_searched_path_and_its_package()
    {
        File.Delete(Library);
        string message = LoadError();
        Assert.That(message, Does.Contain($"{Library}: no such file").And.Contain("(the runtime's own search): "));
        Assert.That(message, Does.Contain(Programs.PackageWorkspace.At($"broken/runtimes/{PackageWorkspace.Rid}/native/{PackageWorkspace.LibraryFile}")));
        Assert.That(message, Does.Contain($"runs on {PackageWorkspace.Rid}, for which the package StellaInterop has a library in runtimes/{PackageWorkspace.Rid}/native"));
    }

    [Test]
    public void An_unsupported_platform_is_reported_with_the_platforms_of_the_package()
    {
        // The assembly holds the names of the platforms that it was packed for.
        string other = PackageWorkspace.Rid.Replace('-', '_');
        File.WriteAllBytes(Assembly, Replaced(assembly, PackageWorkspace.Rid, other));
        File.Delete(Library);
        Assert.That(LoadError(), Does.Contain($"runs on {PackageWorkspace.Rid}, for which the package StellaInterop has no library (it supports {other}"));
    }

    [Test]
    public void A_library_for_another_system_and_a_file_that_is_no_library_are_reported()
    {
        string other = OperatingSystem.IsLinux() ? "macOS" : "Linux";
        byte[] magic = OperatingSystem.IsLinux() ? [0xcf, 0xfa, 0xed, 0xfe] : [0x7f, (byte)'E', (byte)'L', (byte)'F'];
        File.WriteAllBytes(Library, [.. magic, .. library[4..]]);
        Assert.That(LoadError(), Does.Contain($"{Library}: a library for {other}, in a process on "));
        File.WriteAllText(Library, "version https://git-lfs.github.com/spec/v1");
        Assert.That(LoadError(), Does.Contain($"{Library}: not a native library"));
    }

    [Test, Platform("Linux")]
    public void A_library_for_another_processor_is_reported()
    {
        const byte arm64 = 183, x64 = 62;
        byte[] other = [.. library];
        other[18] = other[18] == x64 ? arm64 : x64;
        File.WriteAllBytes(Library, other);
        Assert.That(LoadError(), Does.Contain($"{Library}: a library for ").And.Contain(", in a process for "));
    }

    [Test, Platform("Linux")]
    public void A_truncated_library_is_reported_and_does_not_end_the_process()
    {
        File.WriteAllBytes(Library, library[..100_000]);
        Assert.That(LoadError(), Does.Contain($"{Library}: cut short: 100,000 of {library.Length:N0} bytes"));
    }

    [Test, Platform("Linux")]
    public void A_missing_dependency_is_named()
    {
        File.WriteAllBytes(Library, Replaced(library, "libgcc_s.so.1", "libgcc_x.so.1"));
        Assert.That(LoadError(), Does.Contain($"{Library}: a dependency is missing: ").And.Contain("libgcc_x.so.1"));
    }

    private static string LoadError()
    {
        ProgramRun run = ProgramRun.RunIsolated(Program);
        Assert.That(run.ExitCode, Is.EqualTo(1), run.Errors);
        Assert.That(run.Output, Does.StartWith("StellaNativeLibraryNotFoundException: "));
        return run.Output;
    }

    private static byte[] Replaced(byte[] bytes, string from, string to)
    {
        byte[] copy = [.. bytes];
        int at = copy.AsSpan().IndexOf(Encoding.UTF8.GetBytes(from));
        Assert.That(at, Is.Positive, from);
        Encoding.UTF8.GetBytes(to).CopyTo(copy, at);
        return copy;
    }
}
