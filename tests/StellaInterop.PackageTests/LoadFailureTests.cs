using System.Text;

namespace StellaInterop.PackageTests;

/// <summary>What a program is told whose native library is not there or does not fit.</summary>
[NonParallelizable]
internal sealed class LoadFailureTests
{
    private static readonly string Program = Programs.Workshop.Program("broken", "Console");
    private static readonly string Library = Programs.Workshop.At($"broken/{Workshop.LibraryFile}");
    private static readonly string Assembly = Programs.Workshop.At("broken/StellaInterop.dll");

    private byte[] library = [];
    private byte[] assembly = [];

    [OneTimeSetUp]
    public void Publish()
    {
        Programs.Workshop.Publish("Console", "broken", "-r", Workshop.Rid, "--no-self-contained");
        (library, assembly) = (File.ReadAllBytes(Library), File.ReadAllBytes(Assembly));
    }

    [TearDown]
    public void Mend()
    {
        File.WriteAllBytes(Library, library);
        File.WriteAllBytes(Assembly, assembly);
    }

    [Test]
    public void Without_a_library_each_path_is_named_and_the_package_that_has_it()
    {
        File.Delete(Library);
        string message = Refusal();
        Assert.That(message, Does.Contain($"{Library}: no such file").And.Contain("(the runtime's own search): "));
        Assert.That(message, Does.Contain(Programs.Workshop.At($"broken/runtimes/{Workshop.Rid}/native/{Workshop.LibraryFile}")));
        Assert.That(message, Does.Contain($"runs on {Workshop.Rid}, for which the package StellaInterop has a library in runtimes/{Workshop.Rid}/native"));
    }

    [Test]
    public void On_a_platform_that_the_package_does_not_hold_those_that_it_holds_are_named()
    {
        // The assembly says for which platforms it was packed.
        string other = Workshop.Rid.Replace('-', '_');
        File.WriteAllBytes(Assembly, Replaced(assembly, Workshop.Rid, other));
        File.Delete(Library);
        Assert.That(Refusal(), Does.Contain($"runs on {Workshop.Rid}, for which the package StellaInterop has no library (it supports {other}"));
    }

    [Test]
    public void A_library_for_another_system_or_for_none_is_called_that()
    {
        string other = OperatingSystem.IsLinux() ? "macOS" : "Linux";
        byte[] magic = OperatingSystem.IsLinux() ? [0xcf, 0xfa, 0xed, 0xfe] : [0x7f, (byte)'E', (byte)'L', (byte)'F'];
        File.WriteAllBytes(Library, [.. magic, .. library[4..]]);
        Assert.That(Refusal(), Does.Contain($"{Library}: a library for {other}, in a process on "));
        File.WriteAllText(Library, "version https://git-lfs.github.com/spec/v1");
        Assert.That(Refusal(), Does.Contain($"{Library}: not a native library"));
    }

    [Test, Platform("Linux")]
    public void A_library_for_another_processor_is_called_that()
    {
        const byte arm64 = 183, x64 = 62;
        byte[] other = [.. library];
        other[18] = other[18] == x64 ? arm64 : x64;
        File.WriteAllBytes(Library, other);
        Assert.That(Refusal(), Does.Contain($"{Library}: a library for ").And.Contain(", in a process for "));
    }

    [Test, Platform("Linux")]
    public void A_library_that_is_cut_short_does_not_end_the_process()
    {
        File.WriteAllBytes(Library, library[..100_000]);
        Assert.That(Refusal(), Does.Contain($"{Library}: cut short: 100,000 of {library.Length:N0} bytes"));
    }

    [Test, Platform("Linux")]
    public void A_dependency_that_is_missing_is_named()
    {
        File.WriteAllBytes(Library, Replaced(library, "libgcc_s.so.1", "libgcc_x.so.1"));
        Assert.That(Refusal(), Does.Contain($"{Library}: a dependency is missing: ").And.Contain("libgcc_x.so.1"));
    }

    private static string Refusal()
    {
        ProgramRun run = ProgramRun.Alone(Program);
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
