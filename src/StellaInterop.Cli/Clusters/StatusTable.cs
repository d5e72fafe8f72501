using System.Globalization;
using Spectre.Console;
using StellaInterop.Cli.Jobs;
using StellaInterop.Cli.Terminal;
using StellaInterop.Cluster.Jobs;

namespace StellaInterop.Cli.Clusters;

/// <summary>Writes the state of a cluster for people: a table of the jobs, one of the nodes, and a line for each of their messages.</summary>
internal static class StatusTable
{
    /// <summary>The width of a table in a file, which no line exceeds.</summary>
    private const int FileWidth = 1000;

    public static void Write(ClusterStatus status)
    {
        if (status.Jobs.Count == 0)
        {
            ConsoleOutput.WriteResult("There are no jobs. Submit one by `stella bulk INPUT --output DIR --cluster`.");
        }
        else
        {
            Write(
                ["JOB", "PHASE", "DONE", "ROWS", "ROWS/S", "TOKENS/S", "LEFT", "ERRORS", "LEVEL", "NODES"],
                status.Jobs.Select(job => Row(job.Entry.Folder, job.Status)));
        }

        foreach (ListedJob job in status.Jobs.Where(job => job.Status.Message is not null))
        {
            ConsoleOutput.WriteResult($"{job.Entry.Folder}: {job.Status.Message}");
        }

        ConsoleOutput.WriteResult("");
        Write(
            ["NODE", "MACHINE", "LEVEL", "MODEL", "VERSION", "SILENT", "WORKS ON"],
            status.Nodes.Select(node => Row(node, string.Join(", ", StatusJson.WorksOn(node, status).Select(job => job.Entry.Folder)))));
        foreach (NodeInfo node in status.Nodes.Select(node => node.Info))
        {
            foreach ((string folder, string reason) in node.Refusals.Where(refusal => status.Jobs.Any(job => job.Entry.Folder == refusal.Key && !job.Status.HasEnded)))
            {
                ConsoleOutput.WriteResult($"{node.Address} takes nothing of {folder}: {reason}");
            }
        }
    }

    private static string[] Row(string folder, JobStatus job) =>
    [
        folder,
        StatusJson.NameOf(job.Phase),
        Text($"{job.DoneShare * 100:F1} %"),
        Text($"{job.DoneRowCount:N0} of {job.RowCount:N0}"),
        Text($"{job.RowsPerSecond:N0}"),
        Text($"{job.TokensPerSecond:N0}"),
        job.TimeLeft is { } left && !job.HasEnded ? BulkReport.Time(left) : "-",
        Text($"{job.ErrorCount:N0}"),
        job.Level ?? "-",
        Text($"{job.Nodes.Count(node => node.Leases > 0)}"),
    ];

    private static string[] Row(NodeStatus node, string worksOn) =>
    [
        node.Info.Address,
        node.Info.Machine,
        node.Info.Level,
        node.Info.Model,
        ShortVersion(node.Info.Version),
        BulkReport.Time(node.Silence),
        worksOn.Length > 0 ? worksOn : "-",
    ];

    /// <summary>Returns a version with no more than the first digits of its commit.</summary>
    private static string ShortVersion(string version)
    {
        const int CommitDigits = 8;
        int commit = version.IndexOf('+', StringComparison.Ordinal) + 1;
        return commit > 0 && version.Length > commit + CommitDigits ? version[..(commit + CommitDigits)] : version;
    }

    private static void Write(string[] titles, IEnumerable<string[]> rows)
    {
        var table = new Table().NoBorder();
        foreach (string title in titles)
        {
            table.AddColumn(title);
        }

        foreach (string[] row in rows)
        {
            table.AddRow([.. row.Select(cell => new Text(Printable.Line(cell)))]);
        }

        // Spectre.Console paints into memory: standard output escapes the characters by which it would control a terminal.
        using var lines = new StringWriter(CultureInfo.InvariantCulture);
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors, Out = new AnsiConsoleOutput(lines) });
        console.Profile.Width = Console.IsOutputRedirected ? FileWidth : Math.Max(Console.BufferWidth, 80);
        console.Write(table);
        foreach (string line in lines.ToString().TrimEnd().Split('\n'))
        {
            ConsoleOutput.WriteResult(line.TrimEnd());
        }
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
