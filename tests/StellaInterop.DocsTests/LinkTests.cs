using System.Text.RegularExpressions;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>Links in documents lead to files and headings that are there.</summary>
internal sealed partial class LinkTests
{
    public static IEnumerable<string> Documents() => Document.All;

    [TestCaseSource(nameof(Documents))]
    public void Its_links_lead_somewhere(string document)
    {
        string folder = Path.GetDirectoryName(Path.Combine(Tree.Root, document))!;
        string[] broken =
        [
            .. Link().Matches(Document.Read(document)).Select(match => match.Groups[1].Value)
                .Where(link => !link.Contains("://", StringComparison.Ordinal) && !link.StartsWith("mailto:", StringComparison.Ordinal))
                .Where(link => !IsThere(folder, document, link)),
        ];
        Assert.That(broken, Is.Empty, document);
    }

    [Test]
    public void Tests_that_are_named_as_proof_are_there()
    {
        string[] there =
        [
            .. new[] { "tests", "native" }.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(Tree.Root, folder), "*", SearchOption.AllDirectories))
                .Where(file => file.Contains("ests", StringComparison.Ordinal)).Select(file => Path.GetFileName(file)),
        ];
        string build = File.ReadAllText(Path.Combine(Tree.Root, "build.cake"));
        string[] named = [.. Proof().Matches(Document.Read("docs/answers.md")).SelectMany(row => Name().Matches(row.Value)).Select(name => name.Groups[1].Value)];
        Assert.That(named, Has.Length.GreaterThan(15));
        Assert.That(
            named.Where(name => !there.Contains(name) && !there.Contains(name + ".cs") && !build.Contains($"Task(\"{name}\")", StringComparison.Ordinal)),
            Is.Empty);
    }

    private static bool IsThere(string folder, string document, string link)
    {
        string[] parts = link.Split('#', 2);
        string file = parts[0].Length == 0 ? Path.Combine(Tree.Root, document) : Path.Combine(folder, parts[0]);
        return (File.Exists(file) || Directory.Exists(file)) && (parts.Length == 1 || Document.Anchors(File.ReadAllText(file)).Contains(parts[1]));
    }

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"[^|]+\|$", RegexOptions.Multiline)]
    private static partial Regex Proof();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Name();
}
