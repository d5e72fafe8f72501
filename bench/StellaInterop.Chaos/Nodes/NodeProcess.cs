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
    /// <summary>The time between the end of a process and the start of the next.</summary>
    private static readonly TimeSpan UsualRestartDelay = TimeSpan.FromSeconds(2);

    private readonly NodeArguments arguments;
    private readonly IReadOnlyList<string> prefix;
    private readonly string log;
    private readonly RunHistory history;
    private readonly CancellationTokenSource leaving = new();
    private readonly Task supervision;
    private volatile Process? process;
    private long restartDelay = UsualRestartDelay.Ticks;

    /// <param name="number">The number of the node, from 1.</param>
    /// <param name="arguments">The command line.</param>
    /// <param name="prefix">The command that runs another one as the same process in the network of the node.</param>
    /// <param name="relay">The relay to PostgreSQL.</param>
    /// <param name="history">The history of the run.</param>
    public NodeProcess(int number, NodeArguments arguments, IEnumerable<string> prefix, Relay relay, RunHistory history)
    {
        Number = number;
        Relay = relay;
        this.arguments = arguments;
        this.prefix = [.. prefix];
        this.history = history;
        log = Path.Combine(arguments.Work, string.Create(CultureInfo.InvariantCulture, $"{Name}.log"));
        supervision = SuperviseAsync();
    }

    public int Number { get; }

    public string Name => arguments.Name;

    public Relay Relay { get; }

    /// <summary>Sends a signal such as KILL, unless the process is not running.</summary>
    /// <param name="signal">The name of the signal.</param>
    /// <param name="restart">The time after which an ended process is started again.</param>
    public async Task SignalAsync(string signal, TimeSpan? restart = null)
    {
        if (restart is { } delay)
        {
            _ = Interlocked.Exchange(ref restartDelay, delay.Ticks);
        }

        bool isSent = process is { } running && await Shell.SignalAsync(running.Id, signal).ConfigureAwait(false);
        history.Add(Name, $"SIG{signal}", isSent ? null : "The process was not running.");
    }

    /// <summary>Ends the node for good, as an operator does.</summary>
    /// <param name="timeout">The time that it may take.</param>
    /// <param name="cancellationToken">A token that ends the waiting.</param>
    /// <returns>Whether the process ended by itself.</returns>
    public async Task<bool> LeaveAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        await leaving.CancelAsync().ConfigureAwait(false);
        await SignalAsync("TERM").ConfigureAwait(false);
        _ = await Task.WhenAny(supervision, Task.Delay(timeout, cancellationToken)).ConfigureAwait(false);
        if (supervision.IsCompleted)
        {
            return true;
        }

        await KillAsync().ConfigureAwait(false);
        return false;
    }

    /// <summary>Ends the node for good, at once.</summary>
    public async Task KillAsync()
    {
        await leaving.CancelAsync().ConfigureAwait(false);
        if (!supervision.IsCompleted)
        {
            await SignalAsync("KILL").ConfigureAwait(false);
            await supervision.ConfigureAwait(false);
        }
    }

    private async Task SuperviseAsync()
    {
        while (!leaving.IsCancellationRequested)
        {
            using Process started = Start();
            process = started;
            history.Add(Name, "started", string.Create(CultureInfo.InvariantCulture, $"process {started.Id}"));
            await started.WaitForExitAsync().ConfigureAwait(false);
            process = null;
            history.Add(Name, "ended", string.Create(CultureInfo.InvariantCulture, $"exit code {started.ExitCode}"));
            var delay = new TimeSpan(Interlocked.Exchange(ref restartDelay, UsualRestartDelay.Ticks));
            await Task.Delay(delay, leaving.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
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
