using System.Diagnostics;
using System.Text.Json;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Sources;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Runs;

/// <summary>Runs <c>stella bulk</c> as a process of its own. The events that it prints divide its time.</summary>
internal sealed class BulkProcess : IDisposable
{
    /// <summary>The time between two readings of the peak, which never falls.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    private readonly Process process;
    private readonly Timer timer;
    private readonly Lock gate = new();
    private TimeSpan processorTime;
    private long peakBytes;

    private BulkProcess(ProcessStartInfo start)
    {
        process = Process.Start(start)!;
        timer = new Timer(_ => Read(), null, Interval, Interval);
    }

    /// <summary>Embeds an input file into a new folder.</summary>
    /// <exception cref="BenchException">The job did not complete, or has rows at fault.</exception>
    public static BulkCost Run(string input, string output, string? model, CancellationToken cancellationToken)
    {
        string[] modelOption = model is null ? [] : ["--model", model];
        using var bulk = new BulkProcess(StellaTool.Command("bulk", [input, "--output", output, "--json-progress", .. modelOption]));
        using CancellationTokenRegistration stop = cancellationToken.Register(bulk.process.Kill);
        return bulk.Watch(cancellationToken);
    }

    public void Dispose()
    {
        timer.Dispose();
        process.Dispose();
    }

    private BulkCost Watch(CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        (TimeSpan Time, TimeSpan Processor)? begin = null;
        BulkCost? cost = null;
        while (process.StandardOutput.ReadLine() is { } line)
        {
            using var parsed = JsonDocument.Parse(line);
            JsonElement row = parsed.RootElement;
            string name = row.GetProperty("event").GetString()!;
            if (name == "embedding")
            {
                begin ??= (clock.Elapsed, Read());
            }
            else if (name == "end" && begin is { } start && row.GetProperty("errors").GetInt64() == 0)
            {
                cost = new BulkCost(
                    (clock.Elapsed - start.Time).TotalSeconds, (Read() - start.Processor).TotalSeconds, start.Time.TotalSeconds, 0, row.GetProperty("tokens").GetInt64());
            }
        }

        process.WaitForExit();
        cancellationToken.ThrowIfCancellationRequested();
        return process.ExitCode == (int)ExitCode.Success && cost is { } complete
            ? complete with { PeakBytes = peakBytes }
            : throw new BenchException($"`stella bulk` ended with exit code {process.ExitCode}. Its errors are above.");
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
}
