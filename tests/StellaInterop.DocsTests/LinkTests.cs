using System.Text.RegularExpressions;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>Links in the documents lead to existing files and headings, and named proofs and figures exist.</summary>
internal sealed partial class LinkTests
{
    public static IEnumerable<string> Documents() => Document.All;

    [TestCaseSource(nameof(Documents))]
    public void Links_lead_to_existing_files_and_headings(string document)
    {
        string folder = Path.GetDirectoryName(Path.Combine(SourceTree.Root, document))!;
        string[] broken =
        [
            .. Link().Matches(Document.Read(document)).Select(match => match.Groups[1].Value)
                .Where(link => !link.Contains("://", StringComparison.Ordinal) && !link.StartsWith("mailto:", StringComparison.Ordinal))
                .Where(link => !Exists(folder, document, link)),
        ];
        Assert.That(broken, Is.Empty, document);
    }

    [Test]
    public void Tests_named_as_proof_exist()
    {
        string[] existing =
        [
            .. new[] { "tests", "native" }.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(SourceTree.Root, folder), "*", SearchOption.AllDirectories))
                .Where(file => file.Contains("ests", StringComparison.Ordinal)).Select(file => Path.GetFileName(file)),
        ];
        string build = File.ReadAllText(Path.Combine(SourceTree.Root, "build.cake"));
        string[] named = [.. Proof().Matches(Document.Read("docs/answers.md")).SelectMany(row => Name().Matches(row.Value)).Select(name => name.Groups[1].Value)];
        Assert.That(named, Has.Length.GreaterThan(15));
        Assert.That(
            named.Where(name => !existing.Contains(name) && !existing.Contains(name + ".cs") && !build.Contains($"Task(\"{name}\")", StringComparison.Ordinal)),
            Is.Empty);
    }

    private static bool Exists(string folder, string document, string link)
    {
        string[] parts = link.Split('#', 2);
        string file = parts[0].Length == 0 ? Path.Combine(SourceTree.Root, document) : Path.Combine(folder, parts[0]);
        return (File.Exists(file) || Directory.Exists(file)) && (parts.Length == 1 || Document.Anchors(File.ReadAllText(file)).Contains(parts[1]));
    }

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"[^|]+\|$", RegexOptions.Multiline)]
    private static partial Regex Proof();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Name();
}
