namespace StellaInterop.Memory;

/// <summary>
/// Something that holds reservations and can let go of them while nobody uses it. The governor calls it from any thread,
/// and never while it holds a lock.
/// </summary>
internal interface IIdleMemory
{
    /// <summary>What messages call it.</summary>
    string Name { get; }

    /// <summary>When it was last used, a timestamp of the governor's <see cref="TimeProvider"/>; <see langword="null"/> while it is in use.</summary>
    long? IdleSince { get; }

    /// <summary>Bytes of the reservations that <see cref="TryRelease"/> would dispose now.</summary>
    long IdleBytes { get; }

    /// <summary>Frees the memory, then disposes its reservations, and returns when both are done.</summary>
    /// <returns><see langword="false"/> when it is in use after all, and keeps everything.</returns>
    bool TryRelease();
}
