using System.Runtime.InteropServices;
using StellaInterop.Cli.Errors;

namespace StellaInterop.Cli.Streams;

/// <summary>Stops a running command when a signal arrives or the reader of standard output leaves.</summary>
internal sealed class CommandStop : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly PosixSignalRegistration interrupt;
    private readonly PosixSignalRegistration terminate;
    private readonly Timer exitTimer;
    private readonly TimeSpan gracePeriod;
    private int reason;

    /// <param name="gracePeriod">The time after a signal in which the command can finish its work and end by itself.</param>
    /// <param name="watchesReader">Whether the command stops when the reader of standard output leaves.</param>
    public CommandStop(TimeSpan gracePeriod, bool watchesReader)
    {
        this.gracePeriod = gracePeriod;
        exitTimer = new Timer(_ => Environment.Exit((int)GetExitCode(Reason)));
        interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => OnSignal(context, StopReason.Interrupted));
        terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => OnSignal(context, StopReason.Terminated));
        if (watchesReader)
        {
            new Thread(WatchReader) { IsBackground = true, Name = "stella reader watch" }.Start();
        }
    }

    /// <summary>Gets a token that is cancelled when the command must stop.</summary>
    public CancellationToken Token => source.Token;

    /// <summary>Gets the reason for which the command was stopped.</summary>
    public StopReason Reason => (StopReason)Volatile.Read(ref reason);

    /// <summary>Returns the exit code of a stopped command: 128 plus the number of the signal, as shells report it.</summary>
    public static ExitCode GetExitCode(StopReason reason) => reason switch
    {
        StopReason.ReaderLeft => ExitCode.ReaderLeft,
        StopReason.Interrupted => ExitCode.Interrupted,
        _ => ExitCode.Terminated,
    };

    public void Dispose()
    {
        interrupt.Dispose();
        terminate.Dispose();
        exitTimer.Dispose();
        source.Dispose();
    }

    private void OnSignal(PosixSignalContext context, StopReason signal)
    {
        // A second signal is not cancelled, so that it ends the process at once.
        if (Reason == StopReason.None)
        {
            context.Cancel = true;
            exitTimer.Change(gracePeriod, Timeout.InfiniteTimeSpan);
            Stop(signal);
        }
    }

    /// <summary>Waits for the reader to leave, even while a long batch is computed or no input arrives.</summary>
    private void WatchReader()
    {
        if (StandardStreams.WaitForReaderToLeave())
        {
            Stop(StopReason.ReaderLeft);
        }
    }

    /// <summary>Cancels the command. Only the first reason is kept.</summary>
    private void Stop(StopReason stopReason)
    {
        _ = Interlocked.CompareExchange(ref reason, (int)stopReason, (int)StopReason.None);
        try
        {
            source.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The command has already ended.
        }
    }
}

/// <summary>Specifies the reason for which a running command was stopped.</summary>
internal enum StopReason
{
    None,

    /// <summary>The reader of standard output left.</summary>
    ReaderLeft,

    /// <summary>SIGINT, or Ctrl+C.</summary>
    Interrupted,

    /// <summary>SIGTERM.</summary>
    Terminated,
}
