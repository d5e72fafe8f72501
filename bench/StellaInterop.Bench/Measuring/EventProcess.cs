using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Measuring;

/// <summary>
/// A process that prints the events of <c>stella bulk</c>: <c>embedding</c> before the first text, and <c>end</c> after the last one. Between
/// the two it runs only in its turns. Linux only.
/// </summary>
internal sealed partial class EventProcess : IDisposable
{
    private const int SigCont = 18;
    private const int SigStop = 19;

    /// <summary>The time between two readings of the peak, which never falls.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    private readonly Process process;
    private readonly string name;
    private readonly Timer timer;
    private readonly TaskCompletionSource<TimeSpan> begin = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<(TimeSpan ProcessorTime, long Tokens)> end = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock gate = new();
    private readonly Stopwatch turns = new();
    private readonly TimeSpan start;
    private TimeSpan processorTime;
    private long peakBytes;

    private EventProcess(ProcessStartInfo info, string name)
    {
        this.name = name;
        var clock = Stopwatch.StartNew();
        process = Process.Start(info)!;
        timer = new Timer(_ => Read(), null, Interval, Interval);
        new Thread(ReadEvents) { IsBackground = true }.Start();
        begin.Task.Wait();
        _ = kill(process.Id, SigStop);
        start = clock.Elapsed;
    }

    public bool HasEnded => end.Task.IsCompleted;

    /// <summary>Starts a process, and stops it at its first text.</summary>
    /// <param name="info">The process, with its standard output redirected.</param>
    /// <param name="name">The name in errors.</param>
    public static EventProcess Start(ProcessStartInfo info, string name) => new(info, name);

    /// <summary>Lets the process run for some time, or to its end.</summary>
    public void TakeTurn(TimeSpan time, CancellationToken cancellationToken)
    {
        turns.Start();
        _ = kill(process.Id, SigCont);
        try
        {
            _ = Task.WaitAny([end.Task], (int)time.TotalMilliseconds, cancellationToken);
        }
        finally
        {
            if (!HasEnded)
            {
                _ = kill(process.Id, SigStop);
            }

            turns.Stop();
        }
    }

    /// <summary>Waits for the exit of the process after its last turn.</summary>
    /// <exception cref="BenchException">It failed, or did not embed all texts.</exception>
    public BulkCost Complete()
    {
        process.WaitForExit();
        if (process.ExitCode != (int)ExitCode.Success || !end.Task.IsCompletedSuccessfully)
        {
            throw new BenchException($"{name} ended with exit code {process.ExitCode}. Its errors are above.");
        }

        (TimeSpan ended, long tokens) = end.Task.Result;
        return new BulkCost(turns.Elapsed.TotalSeconds, (ended - begin.Task.Result).TotalSeconds, start.TotalSeconds, peakBytes, tokens);
    }

    public void Dispose()
    {
        timer.Dispose();
        if (!process.HasExited)
        {
            process.Kill();
        }

        process.Dispose();
    }

    private void ReadEvents()
    {
        while (process.StandardOutput.ReadLine() is { } line)
        {
            using var parsed = JsonDocument.Parse(line);
            switch (parsed.RootElement.GetProperty("event").GetString())
            {
                case "embedding":
                    _ = begin.TrySetResult(Read());
                    break;
                case "end":
                    _ = end.TrySetResult((Read(), parsed.RootElement.GetProperty("tokens").GetInt64()));
                    break;
            }
        }

        // A process that failed prints no more events, and Complete reports it.
        _ = begin.TrySetResult(default);
        _ = end.TrySetCanceled();
    }

    /// <summary>Reads the peak and the processor time.</summary>
    /// <returns>The processor time.</returns>
    private TimeSpan Read()
    {
        lock (gate)
        {
            try
            {
                process.Refresh();
                peakBytes = Math.Max(peakBytes, process.PeakWorkingSet64);
                processorTime = process.TotalProcessorTime;
            }
            catch (InvalidOperationException)
            {
                // The process has ended, so the last reading stays.
            }

            return processorTime;
        }
    }

    [LibraryImport("libc")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int kill(int process, int signal);
}
