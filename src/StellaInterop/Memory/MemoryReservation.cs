namespace StellaInterop.Memory;

/// <summary>Represents bytes that an owner may allocate until the reservation is disposed. Thread-safe.</summary>
internal sealed class MemoryReservation : IDisposable
{
    private readonly StellaMemoryGovernor governor;

    internal MemoryReservation(StellaMemoryGovernor governor, string owner)
    {
        this.governor = governor;
        Owner = owner;
    }

    public string Owner { get; }

    /// <summary>Gets the reserved bytes; zero after a dispose.</summary>
    public long Bytes => governor.BytesOf(this);

    /// <summary>
    /// Resizes the reservation to the bytes that the owner has really allocated. It never fails for lack of room, because the memory is in
    /// use already. From now on the governor counts these bytes as touched, and so as part of the measured memory.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="bytes"/> is negative.</exception>
    /// <exception cref="ObjectDisposedException">The reservation is disposed.</exception>
    public void Resize(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        ObjectDisposedException.ThrowIf(!governor.TryResize(this, bytes), this);
    }

    /// <summary>
    /// Resizes this reservation to the bytes that are allocated, and makes a second reservation of bytes that are not allocated yet. No
    /// other reservation can slip in between.
    /// </summary>
    /// <param name="owner">The owner of the second reservation.</param>
    /// <param name="bytes">The size of the second reservation.</param>
    /// <param name="rest">The bytes that stay with this reservation. They count as touched.</param>
    /// <exception cref="ObjectDisposedException">The reservation is disposed.</exception>
    public MemoryReservation Split(string owner, long bytes, long rest)
    {
        MemoryReservation? second = governor.TrySplit(this, owner, bytes, rest);
        ObjectDisposedException.ThrowIf(second is null, this);
        return second;
    }

    /// <summary>Releases the bytes. Later calls have no effect.</summary>
    public void Dispose() => governor.Release(this);
}
