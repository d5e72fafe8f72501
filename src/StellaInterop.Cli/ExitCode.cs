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
}
