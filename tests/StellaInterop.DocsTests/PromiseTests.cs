using System.Globalization;
using System.Text.RegularExpressions;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>Every promise in docs/promises.md names tests, and every named test exists.</summary>
internal sealed partial class PromiseTests
{
    private const int Promises = 26;

    private static readonly (int Number, string Text, string Kept, string[] Tests)[] Rows =
    [
        .. Row().Matches(Document.Read("docs/promises.md")).Select(row => (
            int.Parse(row.Groups["number"].Value, CultureInfo.InvariantCulture),
            row.Groups["promise"].Value,
            row.Groups["kept"].Value,
            Name().Matches(row.Groups["tests"].Value).Select(name => name.Groups[1].Value).ToArray())),
    ];

    private static readonly Lazy<HashSet<string>> CSharp = new(() => [.. CSharpTests()]);

    private static readonly Lazy<HashSet<string>> Rust = new(() => [.. RustTests()]);

    [Test]
    public void Every_promise_has_a_row()
    {
        Assert.That(Rows.Select(row => row.Number), Is.EqualTo(Enumerable.Range(1, Promises)));
        Assert.That(Rows.Select(row => row.Text), Is.Unique.And.All.EndsWith("."));
        Assert.That(Rows.Select(row => row.Kept), Has.All.Matches("^(yes|(partly|not yet): .+)$"));
    }

    [Test]
    public void Every_row_names_a_test() =>
        Assert.That(Rows.Where(row => row.Tests.Length == 0).Select(row => row.Number), Is.Empty);

    [Test]
    public void Every_named_test_exists()
    {
        Assert.That((CSharp.Value.Count, Rust.Value.Count), Is.GreaterThan((200, 50)), "number of C# and Rust tests found in the sources");
        string[] missing = [.. Rows.SelectMany(row => row.Tests
            .Where(test => !CSharp.Value.Contains(test) && !Rust.Value.Contains(test))
            .Select(test => $"{row.Number}: {test}"))];
        Assert.That(missing, Is.Empty);
    }

    [Test]
    public void A_test_that_does_not_exist_is_not_found()
    {
        Assert.That(CSharp.Value, Has.No.Member("PromiseTests.A_test_that_is_not_there"));
        Assert.That(CSharp.Value, Has.Member($"PromiseTests.{nameof(A_test_that_does_not_exist_is_not_found)}"));
        Assert.That(Rust.Value, Has.No.Member("stella-core/tests/load.rs: copy"), "a function that is not a test");
    }

    /// <summary>Finds the test methods in the sources, each with the last class declared before it in the file.</summary>
    private static IEnumerable<string> CSharpTests()
    {
        foreach (string file in Files("tests", "*.cs"))
        {
            string type = "";
            foreach (Match match in ClassOrTest().Matches(File.ReadAllText(file)))
            {
                if (match.Groups["class"].Success)
                {
                    type = match.Groups["class"].Value;
                }
                else
                {
                    yield return $"{type}.{match.Groups["method"].Value}";
                }
            }
        }
    }

    private static IEnumerable<string> RustTests() =>
        from file in Files("native", "*.rs")
        let path = Path.GetRelativePath(Path.Combine(SourceTree.Root, "native"), file).Replace('\\', '/')
        from test in RustTest().Matches(File.ReadAllText(file))
        select $"{path}: {test.Groups["function"].Value}";

    private static IEnumerable<string> Files(string folder, string pattern) =>
        Directory.EnumerateDirectories(Path.Combine(SourceTree.Root, folder))
            .Where(sub => Path.GetFileName(sub) is not "target")
            .SelectMany(sub => Directory.EnumerateFiles(sub, pattern, SearchOption.AllDirectories))
            .Where(file => !Path.GetRelativePath(SourceTree.Root, file).Replace('\\', '/').Split('/').Any(part => part is "bin" or "obj" or "target"));

    [GeneratedRegex(@"^\| (?<number>[0-9]+) \| (?<promise>[^|]+?) \| (?<kept>[^|]+?) \| (?<tests>[^|]+?) \|$", RegexOptions.Multiline)]
    private static partial Regex Row();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Name();

    /// <summary>Matches a class, or a method whose attributes include a test attribute. The attributes may span several lines.</summary>
    [GeneratedRegex(
        """
        ^\s*(?:(?:public|internal|private|sealed|static|abstract|partial)\s+)*class\s+(?<class>\w+)
        | ^\s*\[(?:Test|TestCase|TestCaseSource)\b (?:(?!^\s*public\s).)*? ^\s*public\s+(?:(?:async|unsafe)\s+)*(?:void|Task)\s+(?<method>\w+)\s*\(
        """,
        RegexOptions.Multiline | RegexOptions.Singleline | RegexOptions.ExplicitCapture | RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex ClassOrTest();

    [GeneratedRegex(@"^\s*#\[test\]\s*\n(?:\s*#\[[^\n]*\]\s*\n|\s*//[^\n]*\n)*\s*fn\s+(?<function>\w+)", RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex RustTest();
}
