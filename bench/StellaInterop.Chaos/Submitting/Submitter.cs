using System.Diagnostics;
using System.Globalization;
using StellaInterop.Bench.Sources;
using StellaInterop.Chaos.History;
using StellaInterop.Chaos.Inputs;

namespace StellaInterop.Chaos.Submitting;

/// <summary>Runs <c>stella bulk</c> for the job until it is complete, again and again, as its user would after a crash.</summary>
internal sealed class Submitter : IAsyncDisposable
{
    /// <summary>The exit code of a complete job with rows at fault.</summary>
    public const int CompleteWithErrors = 6;

    /// <summary>The exit codes of errors that may pass, such as a full disk.</summary>
    private const int AnyError = 1;

    private const int ClusterAway = 5;

    /// <summary>The exit code of a process that a signal ended is this number and that of the signal.</summary>
    private const int Signalled = 128;

    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(2);

    private readonly string[] options;
    private readonly string log;
    private readonly RunHistory history;
    private readonly CancellationTokenSource ending = new();
#pragma warning disable CA2213 // The loop disposes each process when it has ended.
    private volatile Process? process;
#pragma warning restore CA2213

    /// <param name="input">The texts.</param>
    /// <param name="output">The folder of the parts.</param>
    /// <param name="cluster">The address of the cluster.</param>
    /// <param name="work">The folder of the run, for the log.</param>
    /// <param name="history">The history of the run.</param>
    public Submitter(string input, string output, string cluster, string work, RunHistory history)
    {
        options = [.. ChaosInput.JobOptions(input, output), "--cluster", cluster];
        log = Path.Combine(work, "submitter.log");
        this.history = history;
        Completion = SubmitAsync();
    }

    /// <summary>Gets the exit code of the command that saw the job complete, or that said that another try would not help.</summary>
    public Task<int> Completion { get; }

    /// <summary>Returns the last lines of the log.</summary>
    public string LogEnd() => string.Join(' ', File.ReadLines(log).TakeLast(3));

    /// <summary>Kills the command, which is started again.</summary>
    public void Kill()
    {
        Process? running = process;
        running?.Kill();
        history.Add("submitter", "SIGKILL", running is null ? "The process was not running." : null);
    }

    public async ValueTask DisposeAsync()
    {
        await ending.CancelAsync().ConfigureAwait(false);
        process?.Kill();
        await ((Task)Completion).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        ending.Dispose();
    }

    private async Task<int> SubmitAsync()
    {
        while (true)
        {
            ProcessStartInfo bulk = StellaTool.Command("bulk", options);
            string[] command = ["-c", "exec \"$@\" >>\"$0\" 2>&1", log, bulk.FileName, .. bulk.ArgumentList];
            using Process started = Process.Start(new ProcessStartInfo("/bin/sh", command))!;
            process = started;
            history.Add("submitter", "started", string.Create(CultureInfo.InvariantCulture, $"process {started.Id}"));
            await started.WaitForExitAsync().ConfigureAwait(false);
            process = null;
            history.Add("submitter", "ended", string.Create(CultureInfo.InvariantCulture, $"exit code {started.ExitCode}"));
            if (started.ExitCode is not (AnyError or ClusterAway or > Signalled))
            {
                return started.ExitCode;
            }

            await Task.Delay(Pause, ending.Token).ConfigureAwait(false);
        }
    }
}
