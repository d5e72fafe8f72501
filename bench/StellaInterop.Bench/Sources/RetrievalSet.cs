using System.Text.RegularExpressions;

namespace StellaInterop.Bench.Sources;

/// <summary>
/// Makes queries and documents from this source tree. The words of a documented name are the query, and its comment is the relevant
/// document. This resembles a search for a function, and the texts were not written for this measurement.
/// </summary>
internal static partial class RetrievalSet
{
    private const string CommentMark = "///";

    /// <summary>Minimum number of words in a query. A shorter name is too ambiguous, so the name of its file is put before it.</summary>
    private const int MinQueryWords = 2;

    private const int MinDocumentWords = 5;

    private static readonly (string Folder, string Pattern)[] Sources = [("src", "*.cs"), ("bench", "*.cs"), ("native", "*.rs")];

    /// <summary>Reads the pairs of a source tree, in an order that does not depend on the file system.</summary>
    public static IReadOnlyList<Pair> Read(string root)
    {
        string[] outputFolders = ["bin", "obj", "target"];
        IEnumerable<string> files = Sources
            .SelectMany(source => Directory.EnumerateFiles(Path.Combine(root, source.Folder), source.Pattern, SearchOption.AllDirectories))
            .Where(file => !Path.GetRelativePath(root, file).Split(Path.DirectorySeparatorChar).Intersect(outputFolders).Any())
            .Order(StringComparer.Ordinal);
        // Duplicate queries and duplicate documents are dropped, because their relevant document would be ambiguous.
        return
        [
            .. files.SelectMany(file => Parse(Path.GetFileNameWithoutExtension(file), File.ReadLines(file)))
                .GroupBy(pair => pair.Query).Where(group => group.Count() == 1).Select(group => group.First())
                .GroupBy(pair => pair.Document).Where(group => group.Count() == 1).Select(group => group.First()),
        ];
    }

    /// <summary>Parses the documented names of a C# or Rust source file.</summary>
    internal static IEnumerable<Pair> Parse(string fileName, IEnumerable<string> lines)
    {
        var comment = new List<string>();
        foreach (string line in lines.Select(line => line.Trim()))
        {
            if (line.StartsWith(CommentMark, StringComparison.Ordinal))
            {
                comment.Add(line[CommentMark.Length..]);
            }
            else if (comment.Count > 0 && !line.StartsWith('[') && !line.StartsWith("#[", StringComparison.Ordinal))
            {
                if (Query(fileName, line) is { } query && Document(comment) is { } document)
                {
                    yield return new Pair(query, document);
                }

                comment.Clear();
            }
        }
    }

    private static string? Query(string fileName, string declaration)
    {
        Match name = TypeName().Match(declaration);
        if (!name.Success)
        {
            name = MemberName().Match(declaration);
        }

        string[] words = Words(name.Groups["name"].Value);
        return words.Length switch
        {
            0 => null,
            < MinQueryWords => string.Join(' ', Words(fileName).Concat(words)),
            _ => string.Join(' ', words),
        };
    }

#pragma warning disable CA1308 // Words are lower case in prose.
    private static string[] Words(string name) => [.. Word().Matches(name).Select(word => word.Value.ToLowerInvariant())];
#pragma warning restore CA1308

    private static string? Document(IEnumerable<string> comment)
    {
        string text = string.Join(' ', comment);
        Match summary = Summary().Match(text);
        text = summary.Success ? summary.Groups["text"].Value : text;
        text = Reference().Replace(text, "${name}");
        text = Tag().Replace(text, string.Empty);
        text = text.Replace("`", string.Empty, StringComparison.Ordinal);
        text = Blank().Replace(text, " ").Trim();
        return text.Split(' ').Length >= MinDocumentWords ? text : null;
    }

    [GeneratedRegex(@"\b(?:fn|struct|enum|trait|class|interface|record)\s+(?!struct\b)(?<name>\w+)")]
    private static partial Regex TypeName();

    /// <summary>Matches the name before a parameter list, a body, a value, a type or the end of the line.</summary>
    [GeneratedRegex(@"(?<name>[A-Za-z_]\w*)\s*(?:[({=;,:]|$)")]
    private static partial Regex MemberName();

    [GeneratedRegex(@"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")]
    private static partial Regex Word();

    [GeneratedRegex(@"<summary>(?<text>.*?)</summary>")]
    private static partial Regex Summary();

    /// <summary>Matches a reference, which is replaced by the last part of its name.</summary>
    [GeneratedRegex(@"<\w+ (?:cref|name|langword)=""(?:[^""(]*\.)?(?<name>\w+)[^""]*""\s*/>")]
    private static partial Regex Reference();

    [GeneratedRegex(@"</?\w[^>]*>")]
    private static partial Regex Tag();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Blank();
}
