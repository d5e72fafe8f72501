using System.Globalization;
using Spectre.Console;

namespace StellaInterop.Cli.Hub;

/// <summary>Told how a download goes, one file after the other.</summary>
internal interface IDownloadReport
{
    /// <summary>A file is next.</summary>
    void Begin(string file, long? size);

    /// <summary>So much of it is there.</summary>
    void Received(long bytes);

    /// <summary>It is there, checked.</summary>
    void Done(long bytes);

    /// <summary>Something that a person wants to know.</summary>
    void Note(string message);
}

/// <summary>Says nothing.</summary>
internal sealed class SilentReport : IDownloadReport
{
    public void Begin(string file, long? size)
    {
    }

    public void Received(long bytes)
    {
    }

    public void Done(long bytes)
    {
    }

    public void Note(string message)
    {
    }
}

/// <summary>Lines on standard error, for logs: one a file, and one for each tenth of a large file.</summary>
internal sealed class LineReport : IDownloadReport
{
    private const long LargeBytes = 64 << 20;

    private string file = "";
    private long? size;
    private long tenth;

    public void Begin(string file, long? size) => (this.file, this.size, tenth) = (file, size, 0);

    public void Received(long bytes)
    {
        if (size is not ({ } whole and >= LargeBytes) || bytes * 10 / whole == tenth)
        {
            return;
        }

        tenth = bytes * 10 / whole;
        Write($"{file}: {tenth * 10} %");
    }

    public void Done(long bytes) => Write($"{file}: {bytes} bytes, checked");

    public void Note(string message) => Write($"warning: {message}");

    private static void Write(FormattableString line) => Output.Note(line.ToString(CultureInfo.InvariantCulture));
}

/// <summary>A bar a file, with speed and remaining time, on a terminal.</summary>
internal sealed class BarReport(IAnsiConsole console, ProgressContext context) : IDownloadReport
{
    private ProgressTask? bar;

    public static Task<T> ShowAsync<T>(Func<IDownloadReport, Task<T>> work)
    {
        IAnsiConsole console = ErrorConsole.Create();
        return console.Progress()
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new DownloadedColumn(), new TransferSpeedColumn(), new RemainingTimeColumn())
            .StartAsync(context => work(new BarReport(console, context)));
    }

    public void Begin(string file, long? size) => bar = context.AddTask(Markup.Escape(Printable.Line(file)), maxValue: size ?? 1);

    public void Received(long bytes) => bar?.Value = bytes;

    public void Done(long bytes)
    {
        if (bar is not null)
        {
            (bar.MaxValue, bar.Value) = (bytes, bytes);
            bar.StopTask();
        }
    }

    public void Note(string message) => console.MarkupLineInterpolated($"[yellow]warning:[/] {Printable.Line(message)}");
}
