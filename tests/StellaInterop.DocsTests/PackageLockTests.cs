using System.Text.Json;
using System.Text.RegularExpressions;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>CI restores with the package lock files in <c>.locks</c>. Other builds do not use them.</summary>
internal sealed partial class PackageLockTests
{
    private const string FileName = "packages.lock.json";

    private static readonly string Folder = Path.Combine(SourceTree.Root, ".locks");

    [Test]
    public void Every_project_has_a_package_lock_file()
    {
        string solution = File.ReadAllText(Path.Combine(SourceTree.Root, "StellaInterop.sln"));
        Assert.That(
            Directory.EnumerateDirectories(Folder).Where(folder => File.Exists(Path.Combine(folder, FileName))).Select(Path.GetFileName),
            Is.EquivalentTo(Project().Matches(solution).Select(project => project.Groups[1].Value)).And.Not.Empty,
            "Run: dotnet cake --target=LockPackages");
    }

    [Test]
    public void Every_locked_package_has_a_hash()
    {
        int packages = 0;
        foreach (string lockFile in Directory.EnumerateFiles(Folder, FileName, SearchOption.AllDirectories))
        {
            using var json = JsonDocument.Parse(File.ReadAllText(lockFile));
            foreach (JsonProperty package in json.RootElement.GetProperty("dependencies").EnumerateObject().SelectMany(target => target.Value.EnumerateObject()))
            {
                if (package.Value.GetProperty("type").GetString() != "Project")
                {
                    Assert.That(package.Value.GetProperty("contentHash").GetBytesFromBase64(), Has.Length.EqualTo(64), $"{lockFile}: {package.Name}");
                    packages++;
                }
            }
        }

        Assert.That(packages, Is.GreaterThan(100));
    }

    /// <summary>Every build would use and rewrite a lock file next to its project.</summary>
    [Test]
    public void No_lock_file_is_next_to_its_project() => Assert.That(
        new[] { "src", "tests", "bench", "samples" }.SelectMany(folder =>
            Directory.EnumerateFiles(Path.Combine(SourceTree.Root, folder), "packages*.lock.json", SearchOption.AllDirectories)),
        Is.Empty);

    [GeneratedRegex(@"([^\\/""]+)\.csproj""")]
    private static partial Regex Project();
}
