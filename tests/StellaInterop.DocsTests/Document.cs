using System.Text.RegularExpressions;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>A block of code in a document.</summary>
/// <param name="Document">The path of the document, relative to the repository root.</param>
/// <param name="Line">The first line of the code, counted from 1.</param>
/// <param name="Language">The language after the fence.</param>
/// <param name="Code">The code.</param>
/// <param name="Output">The output of the program: the plain text block directly after the code, or null.</param>
/// <param name="Requests">The requests to a web service and its answers: the http block directly after the code, or null.</param>
/// <param name="Settings">The settings of a web service: the JSON block directly before the code, or null.</param>
internal sealed record CodeBlock(string Document, int Line, string Language, string Code, string? Output, string? Requests, string? Settings)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Document}:{Line}";
}

/// <summary>The Markdown documents of the project and their code blocks.</summary>
internal static partial class Document
{
    private static readonly string[] Folders = ["docs", "bench", "samples", "src/StellaInterop.Models.Mini"];

    /// <summary>The paths of all documents for readers, relative to the repository root.</summary>
    public static IReadOnlyList<string> All { get; } =
    [
        .. Directory.EnumerateFiles(SourceTree.Root, "*.md").Append(Path.Combine(SourceTree.Root, "src/README.md"))
            .Concat(Folders.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(SourceTree.Root, folder), "*.md", SearchOption.AllDirectories)))
            .Select(file => Path.GetRelativePath(SourceTree.Root, file).Replace('\\', '/'))
            .Where(file => !file.Contains("/bin/", StringComparison.Ordinal) && !file.Contains("/obj/", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal),
    ];

    public static string Read(string document) => File.ReadAllText(Path.Combine(SourceTree.Root, document));

    public static IEnumerable<CodeBlock> Blocks(string language)
    {
        foreach (string document in All)
        {
            string text = Read(document);
            Match[] fences = [.. Fence().Matches(text).Cast<Match>()];
            for (int i = 0; i < fences.Length; i++)
            {
                Match fence = fences[i];
                if (fence.Groups["language"].Value == language)
                {
                    // Returns the code of an adjacent block of the expected language, or null if there is text between the two blocks.
                    string? Adjacent(int first, int second, int neighbor, string expected) =>
                        first >= 0 && second < fences.Length
                        && fences[neighbor].Groups["language"].Value == expected
                        && string.IsNullOrWhiteSpace(text[(fences[first].Index + fences[first].Length)..fences[second].Index])
                            ? fences[neighbor].Groups["code"].Value
                            : null;
                    yield return new CodeBlock(
                        document,
                        text[..fence.Groups["code"].Index].Count(c => c == '\n') + 1,
                        language,
                        fence.Groups["code"].Value,
                        Adjacent(i, i + 1, i + 1, "text"),
                        Adjacent(i, i + 1, i + 1, "http"),
                        Adjacent(i - 1, i, i - 1, "json"));
                }
            }
        }
    }

    /// <summary>
    /// Splits a document into paragraphs, items of lists, tables and headings, each with its line from 1. Blocks of code are left out.
    /// </summary>
    public static IEnumerable<(int Line, string Text)> Paragraphs(string text)
    {
        var lines = new List<string>();
        bool isCode = false;
        int number = 0;
        foreach (string line in text.Split('\n').Append(""))
        {
            number++;
            bool isFence = line.StartsWith("```", StringComparison.Ordinal);
            isCode ^= isFence;
            bool isText = !isCode && !isFence && !line.StartsWith("    ", StringComparison.Ordinal) && line.Trim().Length > 0;
            if ((!isText || StartsParagraph().IsMatch(line)) && lines.Count > 0)
            {
                yield return (number - lines.Count, string.Join('\n', lines));
                lines.Clear();
            }

            if (isText)
            {
                lines.Add(line);
            }
        }
    }

    /// <summary>Returns the part of a document under the heading of an anchor; <see langword="null"/> without such a heading.</summary>
    public static string? Section(string text, string anchor)
    {
        Match[] headings = [.. Heading().Matches(text).Cast<Match>()];
        int first = Array.FindIndex(headings, heading => Anchor(heading.Groups["title"].Value) == anchor);
        if (first < 0)
        {
            return null;
        }

        int level = headings[first].Groups["level"].Length;
        Match? next = headings.Skip(first + 1).FirstOrDefault(heading => heading.Groups["level"].Length <= level);
        return text[headings[first].Index..(next?.Index ?? text.Length)];
    }

    /// <summary>Returns the anchors of all headings.</summary>
    public static IEnumerable<string> Anchors(string text) => Heading().Matches(text).Select(heading => Anchor(heading.Groups["title"].Value));

    private static string Anchor(string title) => NotInAnchors().Replace(title.Trim().ToLowerInvariant(), string.Empty).Replace(' ', '-');

    [GeneratedRegex("^```(?<language>[a-z-]*)\n(?<code>.*?)^```$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Fence();

    /// <summary>A line that does not continue the paragraph above it.</summary>
    [GeneratedRegex(@"^ *(?:- |[0-9]+\. |#+ |<!--)")]
    private static partial Regex StartsParagraph();

    [GeneratedRegex("^(?<level>#+) (?<title>.*)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"[^\w\- ]")]
    private static partial Regex NotInAnchors();
}
