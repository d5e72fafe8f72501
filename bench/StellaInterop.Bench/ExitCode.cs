namespace StellaInterop.Bench;

/// <summary>What the process returns.</summary>
internal enum ExitCode
{
    Good = 0,

    /// <summary>Something was measured that must not be, or could not be measured.</summary>
    Failed = 1,

    Usage = 2,

    /// <summary>Stopped by Ctrl-C, as shells count it.</summary>
    Stopped = 130,
}
