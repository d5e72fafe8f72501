namespace StellaInterop.Chaos.Faults;

/// <summary>Specifies the faults of a run. The poison row, which each run has, is in the input.</summary>
internal enum FaultKind
{
    /// <summary>SIGKILL to a node, which comes back at the same ports.</summary>
    KillNode,

    /// <summary>SIGSTOP to a node for longer than a lease, then SIGCONT.</summary>
    PauseNode,

    /// <summary>SIGTERM to a node, which comes back at the same ports.</summary>
    StopNode,

    /// <summary>PostgreSQL stops at once, and starts again.</summary>
    StopPostgres,

    /// <summary>A node reaches neither the others nor PostgreSQL, for some seconds.</summary>
    ShortPartition,

    /// <summary>The same for longer than the others need to declare the node dead.</summary>
    LongPartition,

    /// <summary>The output folder has no room.</summary>
    FullDisk,

    /// <summary>SIGKILL to the submitter, which submits again.</summary>
    KillSubmitter,

    /// <summary>A new node joins.</summary>
    Join,

    /// <summary>A node joins whose model is another one than that of the job.</summary>
    OtherModel,
}
