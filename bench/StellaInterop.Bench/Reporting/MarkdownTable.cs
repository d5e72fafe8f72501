namespace StellaInterop.Bench.Reporting;

/// <summary>A table that reads well as it is and as Markdown. The first column is words, the others are numbers.</summary>
internal sealed class MarkdownTable(params string[] heads)
{
    private readonly List<string[]> rows = [heads];

    public void Add(params string[] cells) => rows.Add(cells);

    public void Write(TextWriter output)
    {
        int[] widths = [.. Enumerable.Range(0, rows[0].Length).Select(column => rows.Max(row => row[column].Length))];
        for (int i = 0; i < rows.Count; i++)
        {
            output.WriteLine(Line(column => column == 0 ? rows[i][column].PadRight(widths[0]) : rows[i][column].PadLeft(widths[column])));
            if (i == 0)
            {
                output.WriteLine(Line(column => column == 0 ? new string('-', widths[0]) : new string('-', widths[column] - 1) + ":"));
            }
        }

        string Line(Func<int, string> cell) => $"| {string.Join(" | ", Enumerable.Range(0, widths.Length).Select(cell))} |";
    }
}
