using System.Runtime.InteropServices;

namespace StellaInterop.Cli.Streams;

/// <summary>Stops a running command when a signal arrives or the reader of standard output leaves.</summary>
internal sealed class CommandStop : IDisposable
{
    /// <summary>Time in which a command ends by itself after a signal, so that the rows that are whole are sent on.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(2);

    private readonly CancellationTokenSource source = new();
    private readonly PosixSignalRegistration interrupt;
    private readonly PosixSignalRegistration terminate;
    private readonly Timer end;
    private int reason;

    public CommandStop()
    {
        end = new Timer(_ => Environment.Exit((int)ExitCodeOf(Reason)));
        interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => OnSignal(context, StopReason.Interrupted));
        terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => OnSignal(context, StopReason.Terminated));
        new Thread(Watch) { IsBackground = true, Name = "stella reader watch" }.Start();
    }

    /// <summary>Cancelled when the command is to stop.</summary>
    public CancellationToken Token => source.Token;

    /// <summary>Why the command was stopped.</summary>
    public StopReason Reason => (StopReason)Volatile.Read(ref reason);

    /// <summary>Returns the exit code of a command that was stopped: 128 and the number of the signal, as shells count.</summary>
    public static ExitCode ExitCodeOf(StopReason reason) => reason switch
    {
        StopReason.ReaderLeft => ExitCode.ReaderLeft,
        StopReason.Interrupted => ExitCode.Interrupted,
        _ => ExitCode.Terminated,
    };

    public void Dispose()
    {
        interrupt.Dispose();
        terminate.Dispose();
        end.Dispose();
        source.Dispose();
    }

    private void OnSignal(PosixSignalContext context, StopReason signal)
    {
        // The second signal takes its usual way, and ends the process at once.
        if (Reason == StopReason.None)
        {
            context.Cancel = true;
            end.Change(Grace, Timeout.InfiniteTimeSpan);
            Stop(signal);
        }
    }

    /// <summary>Waits for the reader to leave, also while a long batch is computed or no input comes.</summary>
    private void Watch()
    {
        if (StandardStreams.WaitForReaderToLeave())
        {
            Stop(StopReason.ReaderLeft);
        }
    }

    /// <summary>Cancels the command. The first reason counts.</summary>
    private void Stop(StopReason why)
    {
        _ = Interlocked.CompareExchange(ref reason, (int)why, (int)StopReason.None);
        try
        {
            source.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The command has ended by itself.
        }
    }
}

/// <summary>Reasons to stop a command that runs.</summary>
internal enum StopReason
{
    None,

    /// <summary>Nobody reads standard output.</summary>
    ReaderLeft,

    /// <summary>SIGINT, or Ctrl+C.</summary>
    Interrupted,

    /// <summary>SIGTERM.</summary>
    Terminated,
}
