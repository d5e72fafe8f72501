namespace StellaInterop.Cli.Errors;

/// <summary>Specifies the exit code of the process. Scripts depend on the numbers. <c>stella bulk</c> has some of its own.</summary>
internal enum ExitCode
{
    Success = 0,
    Other = 1,
    Usage = 2,
    ModelRefused = 3,
    BadInput = 4,

    /// <summary>A server was not reached, or it refused. Unlike the other errors, this one may disappear on a later run.</summary>
    Network = 5,

    /// <summary>Standard output is closed, or its disk is full.</summary>
    OutputNotWritten = 6,

    /// <summary>SIGINT. Shells report 128 plus the number of the signal.</summary>
    Interrupted = 128 + 2,

    /// <summary>
    /// The reader of standard output left. The number is that of a program ended by SIGPIPE, which shells recognise.
    /// </summary>
    ReaderLeft = 128 + 13,

    /// <summary>SIGTERM.</summary>
    Terminated = 128 + 15,
}
