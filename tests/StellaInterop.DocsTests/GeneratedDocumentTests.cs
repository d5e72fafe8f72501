using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>
/// Sections of documents that are generated from the code are up to date. <c>dotnet cake --target=Docs</c> sets STELLA_WRITE_DOCS, and
/// then these tests write the sections instead of comparing them.
/// </summary>
internal sealed partial class GeneratedDocumentTests
{
    private static readonly bool Writes = Environment.GetEnvironmentVariable("STELLA_WRITE_DOCS") is { Length: > 0 };

    [Test]
    public void Troubleshooting_has_every_error_code()
    {
        var text = new StringBuilder();
        XElement members = Members("StellaInterop");
        foreach (StellaErrorCode code in Enum.GetValues<StellaErrorCode>().Where(code => code != StellaErrorCode.None))
        {
            XElement member = members.Elements().Single(e => (string?)e.Attribute("name") == $"F:StellaInterop.StellaErrorCode.{code}");
            text.Append($"### {(int)code} {code}\n\n{Plain(member.Element("summary"))}\n\n{Plain(member.Element("remarks"))}\n\n");
        }

        CompareOrWrite("docs/troubleshooting.md", "codes", text.ToString());
    }

    [Test]
    public void The_ABI_reference_has_every_export_and_every_type()
    {
        string bindings = File.ReadAllText(Path.Combine(SourceTree.Root, "src/StellaInterop/Interop/Abi/NativeMethods.g.cs"));
        var text = new StringBuilder();
        MatchCollection exports = Export().Matches(bindings);
        foreach (Match export in exports)
        {
            text.Append($"### {export.Groups["name"].Value}\n\n    {export.Groups["signature"].Value}\n\n{Documentation(export)}\n\n");
        }

        Assert.That(exports, Has.Count.EqualTo(Regex.Count(bindings, @"\[DllImport\(")).And.Count.GreaterThan(20));
        CompareOrWrite("docs/abi.md", "exports", text.ToString());

        text.Clear();
        MatchCollection types = NativeType().Matches(bindings);
        foreach (Match type in types.Where(type => type.Groups["body"].Value.Length > 0))
        {
            text.Append($"### {type.Groups["name"].Value}\n\n{Documentation(type)}\n\n| {(type.Groups["kind"].Value == "enum" ? "value" : "field")} | |\n| --- | --- |\n");
            foreach (Match member in Member().Matches(type.Groups["body"].Value))
            {
                text.Append($"| `{member.Groups["member"].Value.Replace("public ", string.Empty, StringComparison.Ordinal)}` | {Spaces().Replace(Documentation(member), " ")} |\n");
            }

            text.Append('\n');
        }

        Assert.That(types, Has.Count.EqualTo(Regex.Count(bindings, "internal (unsafe partial struct|enum)")).And.Count.GreaterThan(15));
        CompareOrWrite("docs/abi.md", "types", text.ToString());
    }

    /// <summary>Returns the documentation comment of a declaration as Markdown.</summary>
    private static string Documentation(Match declaration)
    {
        IEnumerable<string> lines = DocLine().Matches(declaration.Groups["doc"].Value).Select(line => line.Groups[1].Value.TrimEnd());
        return string.Join('\n', lines).Replace("# Safety\n", "**Safety:** ", StringComparison.Ordinal).Trim();
    }

    /// <summary>Compares the section between two marks of a document with the generated text, or writes it.</summary>
    private static void CompareOrWrite(string document, string mark, string generated)
    {
        string path = Path.Combine(SourceTree.Root, document);
        (string begin, string end) = ($"<!-- {mark}: written by dotnet cake --target=Docs -->\n", $"<!-- end of {mark} -->");
        string[] parts = File.ReadAllText(path).Split([begin, end], StringSplitOptions.None);
        Assert.That(parts, Has.Length.EqualTo(3), document);
        string expected = $"\n{generated.TrimEnd()}\n\n";
        if (Writes)
        {
            File.WriteAllText(path, $"{parts[0]}{begin}{expected}{end}{parts[2]}");
        }
        else
        {
            Assert.That(parts[1], Is.EqualTo(expected), $"{document} is out of date. Run: dotnet cake --target=Docs");
        }
    }

    private static XElement Members(string assembly) =>
        XDocument.Load(Path.Combine(TestContext.CurrentContext.TestDirectory, $"{assembly}.xml")).Root!.Element("members")!;

    /// <summary>Returns the text of an XML documentation element, with code in Markdown.</summary>
    private static string Plain(XElement? element)
    {
        Assert.That(element, Is.Not.Null, "every error code needs a summary with its meaning and remarks with the remedy");
        string text = string.Concat(element!.Nodes().Select(node => node switch
        {
            XElement { Name.LocalName: "c" } code => $"`{code.Value}`",
            XElement { Name.LocalName: "see" } see => $"`{ReferenceName(see)}`",
            _ => node.ToString(),
        }));
        return Spaces().Replace(text, " ").Trim();
    }

    private static string ReferenceName(XElement see) =>
        (string?)see.Attribute("langword") ?? string.Join('.', ((string)see.Attribute("cref")!)[2..].Split('(')[0].Split('.')[^(((string)see.Attribute("cref")!)[0] == 'T' ? 1 : 2)..]);

    [GeneratedRegex(@"(?<doc>(?:^ +///.*\n)+) +\[DllImport\([^\n]*EntryPoint = ""(?<name>\w+)""[^\n]*\n(?: +\[[^\n]*\n)* +internal static extern (?<signature>[^\n]*;)", RegexOptions.Multiline)]
    private static partial Regex Export();

    [GeneratedRegex(@"(?<doc>(?:^ +///.*\n)*)(?: +\[[^\n]*\n)* +internal (?<kind>unsafe partial struct|enum) (?<name>\w+)[^\n]*\n +\{\n(?<body>(?:^ {5,}.*\n|^\n)*)    \}", RegexOptions.Multiline)]
    private static partial Regex NativeType();

    [GeneratedRegex(@"(?<doc>(?:^ +///.*\n)+) +(?<member>[^\n/]*?)[;,]\n", RegexOptions.Multiline)]
    private static partial Regex Member();

    [GeneratedRegex(@"^ +///  ?(?!<)(.*)$|^ +///$", RegexOptions.Multiline)]
    private static partial Regex DocLine();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
