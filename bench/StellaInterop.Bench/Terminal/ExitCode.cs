namespace StellaInterop.Bench.Terminal;

/// <summary>Exit codes of the programs in <c>bench</c>. The <c>stella</c> tool has its own enum of this name.</summary>
internal enum ExitCode
{
    Success = 0,

    /// <summary>A figure is outside its limit, or a measurement failed.</summary>
    Failed = 1,

    Usage = 2,

    /// <summary>Ended by Ctrl-C: 128 + SIGINT, as in shells.</summary>
    Interrupted = 130,
}
