using System.Text.RegularExpressions;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>Files, types and functions that ARCHITECTURE.md and docs/decisions name in backticks exist.</summary>
/// <remarks>
/// A path is relative to the root, to a folder that its row or paragraph names before it, to a folder of the paragraph that introduces its
/// list, or to the folder of a sentence "Files without a folder are in ...". A name is a word of the sources. In "`name` in `file`" and
/// "`file`: `name`" it is a word of that file.
/// </remarks>
internal sealed partial class CodeMapTests
{
    private static readonly string[] SourceFolders = ["src", "native", "bench", "samples", "tests", ".cake", ".ci", ".github"];

    private static readonly string[] Extensions =
        [".cs", ".rs", ".toml", ".cake", ".csproj", ".props", ".targets", ".yml", ".py"];

    /// <summary>All files of the tree but those that a build makes, from the root of the tree on.</summary>
    private static readonly Lazy<string[]> Files = new(() =>
    [
        .. Directory.EnumerateFileSystemEntries(SourceTree.Root).Where(entry => Path.GetFileName(entry) is not (".git" or "artifacts"))
            .SelectMany(entry => Directory.Exists(entry) ? Directory.EnumerateFiles(entry, "*", SearchOption.AllDirectories) : [entry])
            .Select(file => Path.GetRelativePath(SourceTree.Root, file).Replace('\\', '/'))
            .Where(file => !Output().IsMatch(file)),
    ]);

    private static readonly Lazy<HashSet<string>> FileNames = new(() => [.. Files.Value.Select(file => Path.GetFileName(file))]);

    /// <summary>The words of all sources but these tests, which have wrong names on purpose.</summary>
    private static readonly Lazy<HashSet<string>> Words = new(() =>
    [
        .. Files.Value.Where(file => !file.StartsWith("tests/StellaInterop.DocsTests/", StringComparison.Ordinal))
            .Where(file => file == "build.cake" || SourceFolders.Any(folder => file.StartsWith(folder + '/', StringComparison.Ordinal)))
            .Where(file => Extensions.Contains(Path.GetExtension(file)) || !Path.GetFileName(file).Contains('.', StringComparison.Ordinal))
            .SelectMany(file => Word().Matches(File.ReadAllText(Path.Combine(SourceTree.Root, file))))
            .Select(word => word.Value),
    ]);

    private static IEnumerable<string> Documents() =>
        Document.All.Where(document => document == "ARCHITECTURE.md" || document.StartsWith("docs/decisions/", StringComparison.Ordinal));

    [TestCaseSource(nameof(Documents))]
    public void Paths_and_names_of_the_code_exist(string document) =>
        Assert.That(string.Join('\n', Unknown(Document.Read(document))), Is.Empty, document);

    [Test]
    public void The_map_names_files_and_types()
    {
        string[] spans = [.. Span().Matches(Document.Read("ARCHITECTURE.md")).Select(span => span.Groups[1].Value)];
        Assert.That(spans.Count(span => IsPath(span)), Is.GreaterThan(60));
        Assert.That(spans.Count(span => !IsPath(span)), Is.GreaterThan(40));
        Assert.That(Words.Value, Has.Count.GreaterThan(5000));
    }

    [TestCase("See `src/StellaInterop/StellaInterop.csproj`.", true)]
    [TestCase("See `src/StellaInterop/StellaInterops.csproj`.", false)]
    [TestCase("See `native/stella-kernels/src/` `simd/mod.rs`.", true)]
    [TestCase("See `native/stella-kernels/src/` `simd.rs`.", false)]
    [TestCase("See `simd/mod.rs`.", false, Description = "relative to a folder that is not named")]
    [TestCase("See `native/stella-kernels/src/`.\n\nSee `simd/mod.rs`.", false, Description = "relative to a folder of another paragraph")]
    [TestCase("In `native/stella-kernels/src/`:\n\n- the file `simd/mod.rs`", true, Description = "the paragraph introduces the list")]
    [TestCase("Files without a folder are in `native/stella-kernels/src/`.\n\nSee `simd/mod.rs`.", true)]
    [TestCase("See `native/stella-kernel/src/`.", false)]
    [TestCase("See `portable.rs`.", true)]
    [TestCase("See `portables.rs`.", false)]
    [TestCase("`StellaModel.Embed` calls `stella_session_embed`.", true)]
    [TestCase("`StellaModel.Embedd` calls it.", false)]
    [TestCase("It calls `stella_session_embeds`.", false)]
    [TestCase("`detect` in `native/stella-kernels/src/cpu.rs`", true)]
    [TestCase("`detect` in `native/stella-kernels/src/math.rs`", false)]
    [TestCase("`native/stella-kernels/src/cpu.rs`: `detect`", true)]
    [TestCase("`native/stella-kernels/src/math.rs`: `detect`", false)]
    [TestCase("```\nIt calls `stella_session_embeds`.\n```", true, Description = "code is not prose")]
    public void A_path_or_name_that_does_not_exist_is_found(string text, bool exists) =>
        Assert.That(Unknown(text), exists ? Is.Empty : Is.Not.Empty);

    private static List<string> Unknown(string document)
    {
        var unknown = new List<string>();
        string[] whole = [.. PageFolder().Matches(document).Select(match => match.Groups[1].Value)];
        List<string> introduced = [];
        foreach ((int line, string text) in Document.Paragraphs(document).SelectMany(Rows))
        {
            bool isItem = text.TrimStart().StartsWith("- ", StringComparison.Ordinal);
            List<string> folders = [.. whole, .. isItem ? introduced : []];
            Match? before = null;
            string? beforePath = null;
            foreach (Match match in Span().Matches(text))
            {
                string span = match.Groups[1].Value;
                string between = before is null ? string.Empty : text[(before.Index + before.Length)..match.Index];
                string? path = null;
                if (!IsPath(span))
                {
                    string[] words = [.. Word().Matches(span).Select(word => word.Value)];
                    unknown.AddRange(words.Where(word => !Words.Value.Contains(word)).Select(word => $"line {line}: {word} in `{span}`"));
                    if (beforePath is not null && between == ": ")
                    {
                        unknown.AddRange(MissingIn(beforePath, words).Select(word => $"line {line}: {word} is not in {beforePath}"));
                    }
                }
                else
                {
                    path = folders.Prepend("").Select(folder => folder + span).FirstOrDefault(Exists);
                    if (path is null && (span.Contains('/', StringComparison.Ordinal) || !FileNames.Value.Contains(span)))
                    {
                        unknown.Add($"line {line}: `{span}`");
                    }
                    else if (path is not null && path.EndsWith('/'))
                    {
                        folders.Add(path);
                    }
                    else if (path is not null && before is not null && beforePath is null && between.TrimStart(',') == " in ")
                    {
                        string[] words = [.. Word().Matches(before.Groups[1].Value).Select(word => word.Value)];
                        unknown.AddRange(MissingIn(path, words).Select(word => $"line {line}: {word} is not in {path}"));
                    }
                }

                (before, beforePath) = (match, path is not null && File.Exists(Path.Combine(SourceTree.Root, path)) ? path : null);
            }

            introduced = isItem ? introduced : folders;
        }

        return unknown;
    }

    private static IEnumerable<string> MissingIn(string file, IEnumerable<string> words)
    {
        HashSet<string> known = [.. Word().Matches(File.ReadAllText(Path.Combine(SourceTree.Root, file))).Select(word => word.Value)];
        return words.Where(word => !known.Contains(word));
    }

    /// <summary>Splits a table into its rows.</summary>
    private static IEnumerable<(int Line, string Text)> Rows((int Line, string Text) paragraph) => paragraph.Text.StartsWith('|')
        ? paragraph.Text.Split('\n').Select((row, i) => (paragraph.Line + i, row))
        : [paragraph];

    private static bool IsPath(string span) => PathLike().IsMatch(span);

    private static bool Exists(string path) => Path.Exists(Path.Combine(SourceTree.Root, path)) || Output().IsMatch(path);

    [GeneratedRegex("`([^`\n]+)`")]
    private static partial Regex Span();

    [GeneratedRegex("[A-Za-z_][A-Za-z0-9_]{2,}")]
    private static partial Regex Word();

    [GeneratedRegex(@"^(?:[\w.-]+/[\w./-]*|[\w.-]+\.(?:rs|cs|cake|csproj|props|targets|py|txt|md|yml))$")]
    private static partial Regex PathLike();

    [GeneratedRegex("^(?:Files without a folder|All files) are in `([^`]+/)`", RegexOptions.Multiline)]
    private static partial Regex PageFolder();

    /// <summary>A folder that a build makes.</summary>
    [GeneratedRegex("(?:^|/)(?:artifacts|bin|obj|target)/")]
    private static partial Regex Output();
}
