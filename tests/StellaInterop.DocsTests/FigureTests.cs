using System.Text.RegularExpressions;

namespace StellaInterop.DocsTests;

/// <summary>
/// Figures that documents copy from bench/README.md are equal to the measured ones. A paragraph or table with such figures follows a marker
/// that names their sections: <c>&lt;!-- figures: bench/README.md#quality --&gt;</c>.
/// </summary>
internal sealed partial class FigureTests
{
    private const string Source = "bench/README.md";

    private static IEnumerable<string> Documents() => Document.All.Where(document =>
        document.StartsWith("docs/", StringComparison.Ordinal) || (document.EndsWith(".md", StringComparison.Ordinal) && !document.Contains('/', StringComparison.Ordinal))
        || document == "src/README.md");

    [TestCaseSource(nameof(Documents))]
    public void Marked_figures_are_in_their_section(string document) =>
        Assert.That(Wrong(Document.Read(document), Document.Read(Source)), Is.Empty, document);

    [TestCaseSource(nameof(Documents))]
    public void A_figure_beside_the_name_of_a_peer_is_marked(string document) => Assert.That(Unmarked(Document.Read(document)), Is.Empty, document);

    [Test]
    public void Documents_have_marked_figures()
    {
        Assert.That(Blocks(Document.Read("README.md")).Where(block => block.Sections.Length > 0).Select(block => NumberRows(block.Text).Count()), Is.EqualTo(new[] { 6 }));
        Assert.That(Blocks(Document.Read("docs/precision.md")).Count(block => block.Sections.Length > 0), Is.EqualTo(2));
    }

    private const string Measured =
        """
        ## Speed

        | engine | 1x8 | 1x32 | MB |
        | --- | --: | --: | --: |
        | ours-f32 | 250 (1.56) | 534 (1.74) | 1758 |
        | ort-f32 | 157 | 308 | 1629 |

        The ranking differs by 0.23 %, and a call takes 4.5 ms.

        ## Other

        | ours-f32 | 251 | 535 | 1759 |
        """;

    [TestCase("| a | b |\n| --- | --- |\n| f32 | 250 | 1758 |", true)]
    [TestCase("| a | b |\n| --- | --- |\n| f32 | 251 | 1758 |", false, Description = "a figure of another section")]
    [TestCase("| a | b |\n| --- | --- |\n| f32 | 25 | 1758 |", false, Description = "a part of a figure")]
    [TestCase("| a | b |\n| --- | --- |\n| f32 | 1758 | 250 |", false, Description = "another order")]
    [TestCase("| a | b |\n| --- | --- |\n| f32 | 250 | 1629 |", false, Description = "figures of two rows")]
    [TestCase("| a | b |\n| --- | --- |\n| f32 | differs by 0.24 % |", false)]
    [TestCase("The ranking differs by 0.23 %.", true)]
    [TestCase("The ranking differs by 0.22 %.", false)]
    [TestCase("The ranking differs by 23 %.", false, Description = "a part of a figure")]
    [TestCase("A call takes 4.5 s.", false, Description = "another unit")]
    [TestCase("A call takes some time.", false, Description = "no figure to compare")]
    public void A_figure_that_was_not_measured_is_found(string marked, bool isMeasured) =>
        Assert.That(Wrong($"<!-- figures: {Source}#speed -->\n\n{marked}\n", Measured), isMeasured ? Is.Empty : Is.Not.Empty);

    [Test]
    public void A_marker_of_a_missing_section_is_found() =>
        Assert.That(Wrong($"<!-- figures: {Source}#speeds -->\n\nThe ranking differs by 0.23 %.\n", Measured), Is.Not.Empty);

    [TestCase("| engine | speed |\n| --- | --- |\n| ONNX Runtime | 157 |", false)]
    [TestCase("It is 1.3 times as fast as llama.cpp.", false)]
    [TestCase("- PyTorch takes 20 % longer.", false)]
    [TestCase("It is faster than ONNX Runtime 1.31.", true, Description = "a version is no figure")]
    [TestCase("It is 1.3 times as fast as before.", true)]
    public void A_figure_of_a_peer_without_a_marker_is_found(string unmarked, bool isFine) =>
        Assert.That(Unmarked($"# Title\n\n{unmarked}\n\nOther text.\n"), isFine ? Is.Empty : Is.Not.Empty);

    [Test]
    public void A_marker_covers_the_next_paragraph_only()
    {
        const string Text = $"<!-- figures: {Source}#speed -->\n\nPyTorch takes 20 % longer.\n\nPyTorch takes 30 % longer.\n";
        Assert.That(Unmarked(Text), Has.One.Items.And.One.Contains("30 %"));
    }

    /// <summary>Returns the marked figures that their sections do not have.</summary>
    private static string[] Wrong(string document, string source) =>
    [
        .. Blocks(document).Where(block => block.Sections.Length > 0).SelectMany(block =>
        {
            string?[] sections = [.. block.Sections.Select(anchor => Document.Section(source, anchor))];
            string measured = string.Join('\n', sections);
            string[] lines = measured.Split('\n');
            string[] figures = [.. Figures(block.Text)];
            string[][] rows = [.. NumberRows(block.Text)];
            IEnumerable<string> missing = block.Sections.Where((_, i) => sections[i] is null).Select(anchor => $"no section #{anchor}");
            IEnumerable<string> none = figures.Length + rows.Length == 0 ? ["no figure"] : [];
            return missing.Concat(none)
                .Concat(figures.Where(figure => !Regex.IsMatch(measured, Pattern(figure))))
                .Concat(rows.Where(row => !lines.Any(line => Regex.IsMatch(line, string.Join(".*", row.Select(Pattern))))).Select(row => string.Join(", ", row)))
                .Select(what => $"line {block.Line}: {what}");
        }),
    ];

    /// <summary>Returns the figures that stand in one paragraph or table with the name of a peer, and have no marker.</summary>
    private static string[] Unmarked(string document) =>
    [
        .. Blocks(document).Where(block => block.Sections.Length == 0 && Peer().IsMatch(block.Text)).SelectMany(block =>
            WithUnit().Matches(block.Text).Select(figure => figure.Value).Concat(NumberRows(block.Text).Select(row => string.Join(", ", row)))
                .Select(what => $"line {block.Line}: {what}")),
    ];

    /// <summary>Returns the paragraphs and tables of a document, each with the sections of the marker before it.</summary>
    private static IEnumerable<(int Line, string Text, string[] Sections)> Blocks(string document)
    {
        string[] sections = [];
        foreach ((int line, string text) in Document.Paragraphs(document))
        {
            if (Marker().Match(text) is { Success: true } marker)
            {
                sections = [.. marker.Groups["anchor"].Captures.Select(anchor => anchor.Value)];
                continue;
            }

            yield return (line, text, sections);
            sections = [];
        }
    }

    /// <summary>Returns the figures of sentences: numbers with a unit, and numbers with a decimal point. The first cell of a row is its label.</summary>
    private static IEnumerable<string> Figures(string block) => block.Split('\n')
        .Select(line => line.StartsWith('|') ? string.Join(" ; ", line.Split('|').Skip(2).Where(cell => !OnlyNumber().IsMatch(cell))) : line)
        .SelectMany(line => WithUnit().Matches(line).Concat(Decimal().Matches(line)))
        .Select(figure => figure.Value);

    /// <summary>Returns, for each row of a table, its cells that are numbers.</summary>
    private static IEnumerable<string[]> NumberRows(string block) => block.Split('\n').Where(line => line.StartsWith('|'))
        .Select(line => line.Split('|').Skip(2).Where(cell => OnlyNumber().IsMatch(cell)).Select(cell => cell.Trim()).ToArray())
        .Where(row => row.Length > 0);

    /// <summary>Finds a figure that is no part of a longer number. A ratio in times has no unit in a table.</summary>
    private static string Pattern(string figure)
    {
        Match parts = WithUnit().Match(figure);
        (string number, string unit) = parts.Success ? (parts.Groups["number"].Value, parts.Groups["unit"].Value) : (figure, "");
        return $@"(?<![\d.,]){Regex.Escape(number)}(?![.,]?\d)" + (unit is "" or "times" ? "" : $" ?{Regex.Escape(unit)}(?![\\w/])");
    }

    [GeneratedRegex(@"^<!-- figures:(?: bench/README\.md#(?<anchor>[\w-]+))+ -->$")]
    private static partial Regex Marker();

    [GeneratedRegex(@"\b(?:ONNX Runtime|llama\.cpp|PyTorch|LLamaSharp|candle)\b", RegexOptions.IgnoreCase)]
    private static partial Regex Peer();

    [GeneratedRegex(@"(?<![\w.,-])(?<number>\d+(?:[.,]\d+)*) ?(?<unit>%|times|tokens/s|texts/s|GFLOP/s|GB/s|MB/s|[KMG]i?B|kB|ms|us|s)(?![\w/])")]
    private static partial Regex WithUnit();

    [GeneratedRegex(@"(?<![\w.,-])\d+\.\d+(?![.,]?\d)")]
    private static partial Regex Decimal();

    [GeneratedRegex(@"^\s*\d+(?:[.,]\d+)*\s*$")]
    private static partial Regex OnlyNumber();
}
