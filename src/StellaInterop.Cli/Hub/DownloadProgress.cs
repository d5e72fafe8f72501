using System.Globalization;
using Spectre.Console;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Hub;

/// <summary>Receives the progress of a download, one file at a time.</summary>
internal interface IDownloadProgress
{
    /// <summary>Reports that the download of a file starts.</summary>
    /// <param name="file">The path of the file.</param>
    /// <param name="size">The size in bytes, if it is known.</param>
    void Begin(string file, long? size);

    /// <summary>Reports the number of bytes of the file received so far.</summary>
    void ReportReceived(long bytes);

    /// <summary>Reports that the file is complete and verified.</summary>
    void Complete(long bytes);

    /// <summary>Reports a warning for the user.</summary>
    void ReportWarning(string message);
}

/// <summary>Discards the progress.</summary>
internal sealed class SilentProgress : IDownloadProgress
{
    public void Begin(string file, long? size)
    {
    }

    public void ReportReceived(long bytes)
    {
    }

    public void Complete(long bytes)
    {
    }

    public void ReportWarning(string message)
    {
    }
}

/// <summary>Writes one line per file to standard error, and one line per tenth of a large file.</summary>
internal sealed class LineProgress : IDownloadProgress
{
    /// <summary>The size from which tenths of a file are reported.</summary>
    private const long LargeFileBytes = 64 << 20;

    private string file = "";
    private long? size;
    private long tenth;

    public void Begin(string file, long? size) => (this.file, this.size, tenth) = (file, size, 0);

    public void ReportReceived(long bytes)
    {
        if (size is not ({ } total and >= LargeFileBytes) || bytes * 10 / total == tenth)
        {
            return;
        }

        tenth = bytes * 10 / total;
        Write($"{file}: {tenth * 10} %");
    }

    public void Complete(long bytes) => Write($"{file}: {bytes} bytes, checked");

    public void ReportWarning(string message) => Write($"warning: {message}");

    private static void Write(FormattableString line) => ConsoleOutput.WriteMessage(line.ToString(CultureInfo.InvariantCulture));
}

/// <summary>Shows one progress bar per file on a terminal, with speed and remaining time.</summary>
internal sealed class ProgressBars(IAnsiConsole console, ProgressContext context) : IDownloadProgress
{
    private ProgressTask? bar;

    public static Task<T> ShowAsync<T>(Func<IDownloadProgress, Task<T>> work)
    {
        IAnsiConsole console = ErrorConsole.Create();
        return console.Progress()
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new DownloadedColumn(), new TransferSpeedColumn(), new RemainingTimeColumn())
            .StartAsync(context => work(new ProgressBars(console, context)));
    }

    public void Begin(string file, long? size) => bar = context.AddTask(Markup.Escape(Printable.Line(file)), maxValue: size ?? 1);

    public void ReportReceived(long bytes) => bar?.Value = bytes;

    public void Complete(long bytes)
    {
        if (bar is not null)
        {
            (bar.MaxValue, bar.Value) = (bytes, bytes);
            bar.StopTask();
        }
    }

    public void ReportWarning(string message) => console.MarkupLineInterpolated($"[yellow]warning:[/] {Printable.Line(message)}");
}
