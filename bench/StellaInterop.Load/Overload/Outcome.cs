namespace StellaInterop.Load.Overload;

/// <summary>The end of one request, as its client saw it.</summary>
/// <param name="Status">The status; 0 if there was no complete answer.</param>
/// <param name="IsComplete">Whether vectors came for all texts, or a refusal has the error object of the protocol.</param>
/// <param name="HasRetryHeaders">Whether the answer has both headers with the time of the next attempt.</param>
/// <param name="Milliseconds">The time from the first byte sent to the last byte received.</param>
/// <param name="RefusalMilliseconds">The time of a refusal by the clock of the server, from the last byte of the body to the first of the answer.</param>
internal readonly record struct Outcome(int Status, bool IsComplete, bool HasRetryHeaders, double Milliseconds, double? RefusalMilliseconds)
{
    public const int Ok = 200;
    public const int Overloaded = 429;

    /// <summary>Gets whether the server did what it promises under overload: vectors, or a refusal that tells when to come again.</summary>
    public bool IsKept => (Status == Ok && IsComplete) || IsRefusal;

    /// <summary>Gets whether the request was refused as the protocol says.</summary>
    public bool IsRefusal => Status == Overloaded && IsComplete && HasRetryHeaders && RefusalMilliseconds is not null;
}

/// <summary>Everything that a run measured.</summary>
internal sealed record OverloadRecord
{
    /// <summary>Gets the requests of 32 texts that the server answers in a second with a few clients.</summary>
    public required double CapacityPerSecond { get; init; }

    /// <summary>Gets the requests that the clients sent in a second.</summary>
    public required double OfferedPerSecond { get; init; }

    /// <summary>Gets the requests of the bulk key under load.</summary>
    public required IReadOnlyList<Outcome> Bulk { get; init; }

    /// <summary>Gets the single texts of the interactive key under load.</summary>
    public required IReadOnlyList<Outcome> Interactive { get; init; }

    /// <summary>Gets the single texts of the interactive key without load.</summary>
    public required IReadOnlyList<Outcome> Idle { get; init; }

    /// <summary>Gets the median time of a full batch without load.</summary>
    public required double BatchMilliseconds { get; init; }

    /// <summary>Gets the resident memory of the server under load in bytes, in equal intervals.</summary>
    public required IReadOnlyList<long> ResidentBytes { get; init; }

    /// <summary>Gets the exit code of the server after SIGTERM.</summary>
    public required int ExitCode { get; init; }
}
