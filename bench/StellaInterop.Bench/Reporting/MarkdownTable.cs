namespace StellaInterop.Bench.Reporting;

/// <summary>A Markdown table with aligned columns. The first and the last column are text, the others numbers.</summary>
internal sealed class MarkdownTable(params string[] headers)
{
    private readonly List<string[]> rows = [headers];

    public void Add(params string[] cells) => rows.Add(cells);

    public void Write(TextWriter output)
    {
        int[] widths = [.. Enumerable.Range(0, headers.Length).Select(column => rows.Max(row => row[column].Length))];
        for (int i = 0; i < rows.Count; i++)
        {
            output.WriteLine(Line(column => IsText(column) ? rows[i][column].PadRight(widths[column]) : rows[i][column].PadLeft(widths[column])));
            if (i == 0)
            {
                output.WriteLine(Line(column => IsText(column) ? new string('-', widths[column]) : new string('-', widths[column] - 1) + ":"));
            }
        }

        bool IsText(int column) => column == 0 || column == headers.Length - 1;
        string Line(Func<int, string> cell) => $"| {string.Join(" | ", Enumerable.Range(0, headers.Length).Select(cell))} |";
    }
}
