using System.Text.RegularExpressions;
using System.Xml.Linq;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>The README lists every platform, and says which libraries are in the repository.</summary>
internal sealed partial class PlatformTableTests
{
    private static readonly (string[] Rids, string Library)[] Rows =
    [
        .. Row().Matches(Document.Read("README.md")).Select(row => (
            Rid().Matches(row.Groups["platform"].Value).Select(rid => rid.Value).ToArray(), row.Groups["library"].Value)),
    ];

    [Test]
    public void The_README_lists_every_platform_once()
    {
        var rids = XDocument.Load(Path.Combine(SourceTree.Root, "native/Rids.props")).Descendants("NativeRid").Select(rid => (string)rid.Attribute("Include")!);
        Assert.That(Rows.SelectMany(row => row.Rids), Is.EquivalentTo(rids));
    }

    [Test]
    public void The_README_names_the_libraries_in_the_repository()
    {
        var committed = Directory.GetDirectories(Path.Combine(SourceTree.Root, "native/prebuilt")).Select(Path.GetFileName);
        Assert.That(Rows.Where(row => row.Library.StartsWith("in the repository")).SelectMany(row => row.Rids), Is.EquivalentTo(committed));
    }

    [GeneratedRegex(@"^\| (?<platform>(?:linux|osx|win)-[^|]+) \| (?<library>[^|]+) \| [^|]+ \|$", RegexOptions.Multiline)]
    private static partial Regex Row();

    [GeneratedRegex("[a-z]+-(?:musl-)?(?:x64|arm64)")]
    private static partial Regex Rid();
}
