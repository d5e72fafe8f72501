using System.Text.Json;
using System.Text.RegularExpressions;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>CI restores by the lists of packages in .locks, and no other build sees them.</summary>
internal sealed partial class PackageListTests
{
    private const string FileName = "packages.lock.json";

    private static readonly string Folder = Path.Combine(Tree.Root, ".locks");

    [Test]
    public void Every_project_has_a_list_of_its_packages()
    {
        string solution = File.ReadAllText(Path.Combine(Tree.Root, "StellaInterop.sln"));
        Assert.That(
            Directory.EnumerateDirectories(Folder).Where(list => File.Exists(Path.Combine(list, FileName))).Select(Path.GetFileName),
            Is.EquivalentTo(Project().Matches(solution).Select(project => project.Groups[1].Value)).And.Not.Empty,
            "dotnet cake --target=LockPackages");
    }

    [Test]
    public void Every_package_of_a_list_has_a_hash()
    {
        int packages = 0;
        foreach (string list in Directory.EnumerateFiles(Folder, FileName, SearchOption.AllDirectories))
        {
            using var json = JsonDocument.Parse(File.ReadAllText(list));
            foreach (JsonProperty package in json.RootElement.GetProperty("dependencies").EnumerateObject().SelectMany(target => target.Value.EnumerateObject()))
            {
                if (package.Value.GetProperty("type").GetString() != "Project")
                {
                    Assert.That(package.Value.GetProperty("contentHash").GetBytesFromBase64(), Has.Length.EqualTo(64), $"{list}: {package.Name}");
                    packages++;
                }
            }
        }

        Assert.That(packages, Is.GreaterThan(100));
    }

    /// <summary>NuGet uses and rewrites a list that lies beside its project in every build.</summary>
    [Test]
    public void No_list_lies_beside_a_project() => Assert.That(
        new[] { "src", "tests", "bench", "samples" }.SelectMany(folder =>
            Directory.EnumerateFiles(Path.Combine(Tree.Root, folder), "packages*.lock.json", SearchOption.AllDirectories)),
        Is.Empty);

    [GeneratedRegex(@"([^\\/""]+)\.csproj""")]
    private static partial Regex Project();
}
