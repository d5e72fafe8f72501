namespace StellaInterop.Memory;

/// <summary>Bytes that one owner may take, until it is disposed. Thread-safe.</summary>
internal sealed class MemoryReservation : IDisposable
{
    private readonly StellaMemoryGovernor governor;

    internal MemoryReservation(StellaMemoryGovernor governor, string owner)
    {
        this.governor = governor;
        Owner = owner;
    }

    public string Owner { get; }

    /// <summary>What is reserved now; zero after it was disposed.</summary>
    public long Bytes => governor.BytesOf(this);

    /// <summary>
    /// Says what was really taken. It never fails for want of room: it reports what is true. From here on the governor
    /// takes these bytes for touched, and so for a part of what it measures; a reservation that was never resized may
    /// be untouched.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="bytes"/> is negative.</exception>
    /// <exception cref="ObjectDisposedException">The reservation is disposed.</exception>
    public void Resize(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        ObjectDisposedException.ThrowIf(!governor.TryResize(this, bytes), this);
    }

    /// <summary>
    /// Resizes this reservation to the bytes really taken, and makes a second reservation of bytes that are not taken yet. No
    /// other reservation can slip in between.
    /// </summary>
    /// <param name="owner">The owner of the second one.</param>
    /// <param name="bytes">Size of the second one.</param>
    /// <param name="rest">Bytes that stay with this one. They count as touched.</param>
    /// <exception cref="ObjectDisposedException">The reservation is disposed.</exception>
    public MemoryReservation Split(string owner, long bytes, long rest)
    {
        MemoryReservation? second = governor.TrySplit(this, owner, bytes, rest);
        ObjectDisposedException.ThrowIf(second is null, this);
        return second;
    }

    /// <summary>Gives the bytes back. Only the first call does something.</summary>
    public void Dispose() => governor.GiveBack(this);
}
