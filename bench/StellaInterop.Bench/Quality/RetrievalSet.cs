using System.Text.RegularExpressions;

namespace StellaInterop.Bench.Quality;

/// <summary>A question and the one document that answers it.</summary>
internal sealed record Pair(string Query, string Document);

/// <summary>
/// Questions and documents out of this tree: the words of a documented name ask, and what its comment says answers. It is
/// what people do who look for a function, nobody wrote it for this purpose, and there are some hundred of them.
/// </summary>
internal static partial class RetrievalSet
{
    private const string Mark = "///";

    /// <summary>A name of one word asks for too many things: the name of its file stands before it.</summary>
    private const int LeastQueryWords = 2;

    private const int LeastDocumentWords = 5;

    private static readonly (string Folder, string Pattern)[] Sources = [("src", "*.cs"), ("bench", "*.cs"), ("native", "*.rs")];

    /// <summary>The set of a tree, in an order that does not depend on the file system.</summary>
    public static IReadOnlyList<Pair> Read(string root)
    {
        string[] built = ["bin", "obj", "target"];
        IEnumerable<string> files = Sources
            .SelectMany(source => Directory.EnumerateFiles(Path.Combine(root, source.Folder), source.Pattern, SearchOption.AllDirectories))
            .Where(file => !Path.GetRelativePath(root, file).Split(Path.DirectorySeparatorChar).Intersect(built).Any())
            .Order(StringComparer.Ordinal);
        // Twice the same question, or twice the same answer, has no right one.
        return
        [
            .. files.SelectMany(file => Parse(Path.GetFileNameWithoutExtension(file), File.ReadLines(file)))
                .GroupBy(pair => pair.Query).Where(group => group.Count() == 1).Select(group => group.First())
                .GroupBy(pair => pair.Document).Where(group => group.Count() == 1).Select(group => group.First()),
        ];
    }

    /// <summary>The documented names of a C# or Rust source.</summary>
    internal static IEnumerable<Pair> Parse(string fileName, IEnumerable<string> lines)
    {
        var comment = new List<string>();
        foreach (string line in lines.Select(line => line.Trim()))
        {
            if (line.StartsWith(Mark, StringComparison.Ordinal))
            {
                comment.Add(line[Mark.Length..]);
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
            < LeastQueryWords => string.Join(' ', Words(fileName).Concat(words)),
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
        return text.Split(' ').Length >= LeastDocumentWords ? text : null;
    }

    [GeneratedRegex(@"\b(?:fn|struct|enum|trait|class|interface|record)\s+(?!struct\b)(?<name>\w+)")]
    private static partial Regex TypeName();

    /// <summary>What stands before a list, a body, a value, a type or an end.</summary>
    [GeneratedRegex(@"(?<name>[A-Za-z_]\w*)\s*(?:[({=;,:]|$)")]
    private static partial Regex MemberName();

    [GeneratedRegex(@"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")]
    private static partial Regex Word();

    [GeneratedRegex(@"<summary>(?<text>.*?)</summary>")]
    private static partial Regex Summary();

    /// <summary>A reference reads as the last part of what it names.</summary>
    [GeneratedRegex(@"<\w+ (?:cref|name|langword)=""(?:[^""(]*\.)?(?<name>\w+)[^""]*""\s*/>")]
    private static partial Regex Reference();

    [GeneratedRegex(@"</?\w[^>]*>")]
    private static partial Regex Tag();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Blank();
}
