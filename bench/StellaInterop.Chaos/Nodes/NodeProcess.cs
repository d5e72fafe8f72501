using System.Diagnostics;
using System.Globalization;
using StellaInterop.Chaos.History;
using StellaInterop.Chaos.Machine;

namespace StellaInterop.Chaos.Nodes;

/// <summary>Represents a node of the cluster, whose process is started again at the same ports whenever it ends, as a service manager does.</summary>
#pragma warning disable CA1001 // A source without a timer and without a wait handle has nothing to free.
internal sealed class NodeProcess
#pragma warning restore CA1001
{
    /// <summary>The exit code of a process that SIGTERM ended because it had no handler for it.</summary>
    private const int Terminated = 128 + 15;

    /// <summary>The time that the runtime may take to start, and so to handle SIGTERM.</summary>
    private static readonly TimeSpan BootTime = TimeSpan.FromSeconds(5);

    /// <summary>The time between the end of a process and the start of the next.</summary>
    private static readonly TimeSpan UsualRestartDelay = TimeSpan.FromSeconds(2);

    private readonly NodeArguments arguments;
    private readonly IReadOnlyList<string> prefix;
    private readonly string log;
    private readonly RunHistory history;
    private readonly CancellationTokenSource leaving = new();
    private readonly Task<int> supervision;
    private volatile int process;
    private volatile string leaveSignal = "TERM";
    private long restartDelay = UsualRestartDelay.Ticks;

    /// <param name="arguments">The command line.</param>
    /// <param name="prefix">The command that runs another one as the same process in the network of the node.</param>
    /// <param name="relay">The relay to PostgreSQL.</param>
    /// <param name="history">The history of the run.</param>
    public NodeProcess(NodeArguments arguments, IEnumerable<string> prefix, Relay relay, RunHistory history)
    {
        Relay = relay;
        this.arguments = arguments;
        this.prefix = [.. prefix];
        this.history = history;
        log = Path.Combine(arguments.Work, string.Create(CultureInfo.InvariantCulture, $"{Name}.log"));
        supervision = SuperviseAsync();
    }

    public string Name => arguments.Name;

    public Relay Relay { get; }

    /// <summary>Sends a signal such as KILL, and waits for the process if it is being started again.</summary>
    /// <param name="signal">The name of the signal.</param>
    /// <param name="restart">The time after which an ended process is started again; <see langword="null"/> for the usual time.</param>
    /// <param name="cancellationToken">A token that ends the waiting.</param>
    /// <returns>Whether a process got the signal.</returns>
    public async Task<bool> SignalAsync(string signal, TimeSpan? restart, CancellationToken cancellationToken)
    {
        if (restart is { } delay)
        {
            _ = Interlocked.Exchange(ref restartDelay, delay.Ticks);
        }

        bool isSent = await Shell.SignalAsync(() => process, signal, cancellationToken).ConfigureAwait(false);
        AddSignal(signal, isSent);
        return isSent;
    }

    /// <summary>Ends the node for good, as an operator does.</summary>
    /// <param name="timeout">The time that it may take.</param>
    /// <param name="cancellationToken">A token that ends the waiting.</param>
    /// <returns>The defect of its end; <see langword="null"/> if it ended in time and in order.</returns>
    public async Task<string?> LeaveAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        await BeginLeaveAsync("TERM").ConfigureAwait(false);
        _ = await Task.WhenAny(supervision, Task.Delay(timeout, cancellationToken)).ConfigureAwait(false);
        if (!supervision.IsCompleted)
        {
            await KillAsync().ConfigureAwait(false);
            return string.Create(CultureInfo.InvariantCulture, $"{Name} did not end {timeout.TotalSeconds:F0} s after SIGTERM");
        }

        return await supervision.ConfigureAwait(false) is not 0 and var code
            ? string.Create(CultureInfo.InvariantCulture, $"{Name} ended with exit code {code} after SIGTERM")
            : null;
    }

    /// <summary>Ends the node for good, at once.</summary>
    public async Task KillAsync()
    {
        if (!supervision.IsCompleted)
        {
            await BeginLeaveAsync("KILL").ConfigureAwait(false);
            _ = await supervision.ConfigureAwait(false);
        }
    }

    private async Task BeginLeaveAsync(string signal)
    {
        leaveSignal = signal;
        await leaving.CancelAsync().ConfigureAwait(false);
        AddSignal(signal, process is not 0 and var running && await Shell.SignalAsync(running, signal).ConfigureAwait(false));
    }

    private void AddSignal(string signal, bool isSent) => history.Add(Name, $"SIG{signal}", isSent ? null : "The process was not running.");

    /// <summary>Starts the process again whenever it ends, until the node leaves.</summary>
    /// <returns>The exit code of the process that was running when the node left; 0 if none was, or if it could not handle SIGTERM yet.</returns>
    private async Task<int> SuperviseAsync()
    {
        while (!leaving.IsCancellationRequested)
        {
            using Process started = Start();
            long start = Stopwatch.GetTimestamp();
            process = started.Id;
            history.Add(Name, "started", string.Create(CultureInfo.InvariantCulture, $"process {started.Id}"));
            // The node may have left while its process was starting and could not be told.
            if (leaving.IsCancellationRequested)
            {
                _ = await Shell.SignalAsync(started.Id, leaveSignal).ConfigureAwait(false);
            }

            await started.WaitForExitAsync().ConfigureAwait(false);
            process = 0;
            history.Add(Name, "ended", string.Create(CultureInfo.InvariantCulture, $"exit code {started.ExitCode}"));
            if (leaving.IsCancellationRequested)
            {
                return started.ExitCode == Terminated && Stopwatch.GetElapsedTime(start) < BootTime ? 0 : started.ExitCode;
            }

            var delay = new TimeSpan(Interlocked.Exchange(ref restartDelay, UsualRestartDelay.Ticks));
            await Task.Delay(delay, leaving.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        return 0;
    }

    /// <summary>Starts the process. Its input ends with this process, and the node with its input.</summary>
    private Process Start()
    {
        // Each program is replaced by the next, so that the id stays that of the node.
        string host = Environment.ProcessPath is { } path && Path.GetFileNameWithoutExtension(path) == "dotnet" ? path : "dotnet";
        string[] command =
        [
            "-c", "exec \"$@\" >>\"$0\" 2>&1", log, .. prefix, host, typeof(NodeProcess).Assembly.Location, .. arguments.ToArguments(),
        ];
        return Process.Start(new ProcessStartInfo("/bin/sh", command) { RedirectStandardInput = true })!;
    }
}
