namespace StellaInterop.Cli;

/// <summary>What the process returns. Scripts depend on the numbers.</summary>
internal enum ExitCode
{
    Good = 0,
    Other = 1,
    Usage = 2,
    ModelRefused = 3,
    BadInput = 4,

    /// <summary>A server was not reached, or it refused. Trying again later may help, unlike after the others.</summary>
    Network = 5,

    /// <summary>Standard output is closed, or its disk is full.</summary>
    OutputNotWritten = 6,

    /// <summary>SIGINT, as shells count: 128 and the number of the signal.</summary>
    Interrupted = 128 + 2,

    /// <summary>The reader of standard output left. The number is that of a program that SIGPIPE ends, so that shells know it.</summary>
    ReaderLeft = 128 + 13,

    /// <summary>SIGTERM.</summary>
    Terminated = 128 + 15,
}
