using System.Diagnostics;
using System.Globalization;
using StellaInterop.Bench.Sources;
using StellaInterop.Chaos.History;
using StellaInterop.Chaos.Inputs;
using StellaInterop.Chaos.Machine;

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

    /// <summary>
    /// Replaces the shell by the command, and kills it when its input ends: with this process, whatever ends that. The parent death signal of Linux
    /// would come too early, because it is sent at the end of the thread that started the process.
    /// </summary>
    private const string EndWithRun = "exec 3<&0; { cat; kill -KILL $$; } <&3 >/dev/null 2>&1 & exec \"$@\" 3<&- </dev/null >>\"$0\" 2>&1";

    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(2);

    private readonly string[] options;
    private readonly string log;
    private readonly RunHistory history;
    private readonly CancellationTokenSource ending = new();
    private volatile int process;

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
    /// <returns>Whether it was running.</returns>
    public async Task<bool> KillAsync(CancellationToken cancellationToken)
    {
        bool isSent = await Shell.SignalAsync(() => process, "KILL", cancellationToken).ConfigureAwait(false);
        history.Add("submitter", "SIGKILL", isSent ? null : "The process was not running.");
        return isSent;
    }

    public async ValueTask DisposeAsync()
    {
        await ending.CancelAsync().ConfigureAwait(false);
        if (process is not 0 and var running)
        {
            _ = await Shell.SignalAsync(running, "KILL").ConfigureAwait(false);
        }

        await ((Task)Completion).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        ending.Dispose();
    }

    private async Task<int> SubmitAsync()
    {
        while (true)
        {
            ProcessStartInfo bulk = StellaTool.Command("bulk", options);
            string[] command = ["-c", EndWithRun, log, bulk.FileName, .. bulk.ArgumentList];
            using Process started = Process.Start(new ProcessStartInfo("/bin/sh", command) { RedirectStandardInput = true })!;
            process = started.Id;
            history.Add("submitter", "started", string.Create(CultureInfo.InvariantCulture, $"process {started.Id}"));
            // The run may have ended while the process was starting and could not be killed.
            if (ending.IsCancellationRequested)
            {
                started.Kill();
            }

            await started.WaitForExitAsync().ConfigureAwait(false);
            process = 0;
            history.Add("submitter", "ended", string.Create(CultureInfo.InvariantCulture, $"exit code {started.ExitCode}"));
            if (started.ExitCode is not (AnyError or ClusterAway or > Signalled))
            {
                return started.ExitCode;
            }

            await Task.Delay(Pause, ending.Token).ConfigureAwait(false);
        }
    }
}
