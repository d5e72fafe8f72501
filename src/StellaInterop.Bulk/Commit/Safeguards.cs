namespace StellaInterop.Bulk.Commit;

/// <summary>Specifies the safeguards of a job. Only tests switch one off, to show that they would notice its loss.</summary>
[Flags]
internal enum Safeguards
{
    None = 0,

    /// <summary>A part gets its name only if the name is free.</summary>
    PutIfAbsent = 1,

    /// <summary>The content of a file is on the disk before the file gets its name, and the record of a part before the part.</summary>
    FlushOrder = 2,

    /// <summary>The fingerprint of the model is in the plan.</summary>
    Fingerprint = 4,

    /// <summary>A job continues only its own plan, whose hash is in the names of parts.</summary>
    PlanHash = 8,

    /// <summary>The rows of a chunk are those that were planned.</summary>
    RowChecksum = 16,

    /// <summary>A node of a cluster commits a part only with a lease that is still its own.</summary>
    Epoch = 32,

    /// <summary>A lease counts as an attempt when it is given, so that it counts if the node ends.</summary>
    AttemptCount = 64,

    All = PutIfAbsent | FlushOrder | Fingerprint | PlanHash | RowChecksum | Epoch | AttemptCount,
}
