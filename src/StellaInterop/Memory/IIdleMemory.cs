namespace StellaInterop.Memory;

/// <summary>
/// Represents an owner of reservations that can free its memory while it is idle. The governor calls it from any thread, and never
/// while the governor holds a lock.
/// </summary>
internal interface IIdleMemory
{
    /// <summary>Gets the name of the owner in messages.</summary>
    string Name { get; }

    /// <summary>
    /// Gets the time of the last use, a timestamp of the governor's <see cref="TimeProvider"/>; <see langword="null"/> while the memory is
    /// in use.
    /// </summary>
    long? IdleSince { get; }

    /// <summary>Gets the bytes of the reservations that <see cref="TryRelease"/> would dispose now.</summary>
    long IdleBytes { get; }

    /// <summary>Frees the memory, then disposes its reservations. Returns when both are done.</summary>
    /// <returns><see langword="false"/> if the memory is in use again; nothing is freed then.</returns>
    bool TryRelease();
}
