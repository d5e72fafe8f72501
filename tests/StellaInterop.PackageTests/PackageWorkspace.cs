using System.Runtime.InteropServices;
using System.Security;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using StellaInterop.Tests;

namespace StellaInterop.PackageTests;

/// <summary>
/// A folder outside the source tree in which programs are built from the packages. The tested packages come only from their own feed
/// and are restored into an empty package folder. Their dependencies come from the package sources of the machine.
/// </summary>
internal sealed class PackageWorkspace : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public PackageWorkspace()
    {
        Feed = Environment.GetEnvironmentVariable("STELLA_PACKAGES") is { Length: > 0 } given
            ? Path.GetFullPath(given, SourceTree.Root)
            : Pack();
        const string tool = "StellaInterop.Cli.";
        Version = Path.GetFileNameWithoutExtension(Directory.GetFiles(Feed, $"{tool}*.nupkg").Single())[tool.Length..];
        File.WriteAllText(folder.File("nuget.config"), NuGetConfig());
        File.WriteAllText(folder.File("Directory.Packages.props"), PackageVersions());
        Directory.CreateDirectory(folder.File("apps"));
        string apps = Path.Combine(SourceTree.Root, "tests/StellaInterop.PackageTests/Apps");
        foreach (string file in Directory.EnumerateFiles(apps, "*", SearchOption.AllDirectories))
        {
            string copy = folder.File(Path.Combine("apps", Path.GetRelativePath(apps, file)));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
    }

    /// <summary>The portable runtime identifier of this machine, which names a folder in the package.</summary>
    public static string Rid { get; } = $"{SystemName}-{RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant()}";

    /// <summary>The file name of the native library on this system.</summary>
    public static string LibraryFile { get; } =
        OperatingSystem.IsWindows() ? "stella_interop.dll"
        : OperatingSystem.IsMacOS() ? "libstella_interop.dylib"
        : "libstella_interop.so";

    /// <summary>The folder of the tested packages.</summary>
    public string Feed { get; }

    /// <summary>The version of the tested packages.</summary>
    public string Version { get; }

    private static string SystemName =>
        OperatingSystem.IsWindows() ? "win"
        : OperatingSystem.IsMacOS() ? "osx"
        : Regex.IsMatch(RuntimeInformation.RuntimeIdentifier, "musl|^alpine") ? "linux-musl"
        : "linux";

    /// <summary>Returns the full path of a file in the workspace.</summary>
    public string At(string name) => Path.GetFullPath(folder.File(name));

    /// <summary>Returns the full path of a program in a directory of the workspace.</summary>
    public string Program(string directory, string name) => At(Path.Combine(directory, OperatingSystem.IsWindows() ? $"{name}.exe" : name));

    /// <summary>Publishes one of the programs to a directory of the workspace.</summary>
    public ProgramRun Publish(string name, string output, params string[] arguments) =>
        DotNet(["publish", $"apps/{name}", "-c", "Release", "-o", output, .. arguments]);

    /// <summary>Runs a command of the .NET SDK in the workspace and asserts that it succeeds.</summary>
    public ProgramRun DotNet(params string[] arguments)
    {
        ProgramRun run = TryDotNet(arguments);
        Assert.That(run.ExitCode, Is.Zero, $"dotnet {string.Join(' ', arguments)}\n{run.Output}{run.Errors}");
        return run;
    }

    /// <summary>Runs a command of the .NET SDK in the workspace, which may fail.</summary>
    public ProgramRun TryDotNet(params string[] arguments) => ProgramRun.DotNet(folder.Path, folder.File("packages"), arguments);

    public void Dispose() => folder.Dispose();

    /// <summary>The package folder of the machine.</summary>
    public static string MachinePackages => Environment.GetEnvironmentVariable("NUGET_PACKAGES")
        ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");

    private string Pack()
    {
        foreach (string project in new[] { "StellaInterop", "StellaInterop.Extensions", "StellaInterop.Server", "StellaInterop.Bulk", "StellaInterop.Models.Mini", "StellaInterop.Cli" })
        {
            // These projects were restored with the package folder of the machine.
            ProgramRun run = ProgramRun.DotNet(
                SourceTree.Root, MachinePackages, "pack", $"src/{project}", "--no-build", "-c", SourceTree.Configuration, "-o", folder.File("feed"));
            Assert.That(run.ExitCode, Is.Zero, run.Output);
        }

        return folder.File("feed");
    }

    private string NuGetConfig()
    {
        // The package folder of the machine is a source too, so that few packages are downloaded.
        ProgramRun list = ProgramRun.DotNet(SourceTree.Root, MachinePackages, "nuget", "list", "source", "--format", "short");
        string[] sources = [.. list.Lines.Where(line => line.StartsWith("E ")).Select(line => line[2..]), MachinePackages];
        var machine = sources.Select((source, i) => (Key: $"machine-{i}", Source: source)).ToArray();
        var config = new XElement(
            "configuration",
            new XElement(
                "packageSources",
                new XElement("clear"),
                Add("feed", Feed),
                machine.Select(source => Add(source.Key, source.Source))),
            new XElement(
                "packageSourceMapping",
                new XElement("packageSource", new XAttribute("key", "feed"), Package("StellaInterop*")),
                machine.Select(source => new XElement("packageSource", new XAttribute("key", source.Key), Package("*")))));
        return config.ToString();

        static XElement Add(string key, string value) => new("add", new XAttribute("key", key), new XAttribute("value", value));
        static XElement Package(string pattern) => new("package", new XAttribute("pattern", pattern));
    }

    /// <summary>Returns the package versions of the source tree and of the tested packages.</summary>
    private string PackageVersions() => $"""
        <Project>
          <Import Project="{SecurityElement.Escape(Path.Combine(SourceTree.Root, "Directory.Packages.props"))}" />
          <ItemGroup>
            <PackageVersion Include="StellaInterop" Version="{Version}" />
            <PackageVersion Include="StellaInterop.Extensions" Version="{Version}" />
            <PackageVersion Include="StellaInterop.Server" Version="{Version}" />
            <PackageVersion Include="StellaInterop.Bulk" Version="{Version}" />
            <PackageVersion Include="StellaInterop.Models.Mini" Version="{Version}" />
          </ItemGroup>
        </Project>
        """;
}
