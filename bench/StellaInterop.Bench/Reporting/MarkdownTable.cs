namespace StellaInterop.Bench.Reporting;

/// <summary>A table that reads well as it is and as Markdown. The first and the last column are words, the others numbers.</summary>
internal sealed class MarkdownTable(params string[] heads)
{
    private readonly List<string[]> rows = [heads];

    public void Add(params string[] cells) => rows.Add(cells);

    public void Write(TextWriter output)
    {
        int[] widths = [.. Enumerable.Range(0, heads.Length).Select(column => rows.Max(row => row[column].Length))];
        for (int i = 0; i < rows.Count; i++)
        {
            output.WriteLine(Line(column => IsWords(column) ? rows[i][column].PadRight(widths[column]) : rows[i][column].PadLeft(widths[column])));
            if (i == 0)
            {
                output.WriteLine(Line(column => IsWords(column) ? new string('-', widths[column]) : new string('-', widths[column] - 1) + ":"));
            }
        }

        bool IsWords(int column) => column == 0 || column == heads.Length - 1;
        string Line(Func<int, string> cell) => $"| {string.Join(" | ", Enumerable.Range(0, heads.Length).Select(cell))} |";
    }
}
