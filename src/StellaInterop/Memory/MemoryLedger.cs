using System.Collections.Immutable;

namespace StellaInterop.Memory;

/// <summary>Represents a live reservation.</summary>
/// <param name="Reservation">The reservation.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="IsTouched">Whether the owner reported that the bytes are touched, so that measured memory includes them.</param>
internal readonly record struct LedgerEntry(MemoryReservation Reservation, long Bytes, bool IsTouched);

/// <summary>Lists the live reservations. Immutable: a change makes another ledger, so that readers need no lock.</summary>
/// <param name="Entries">The live reservations, in the order in which they were made.</param>
/// <param name="Unreserved">The memory of the process besides its reservations when the last reservation was made, in bytes.</param>
internal sealed record MemoryLedger(ImmutableArray<LedgerEntry> Entries, long Unreserved)
{
    public static MemoryLedger Empty { get; } = new([], 0);

    /// <summary>Gets the sum of all reservations. The sum is computed each time, so that it cannot drift.</summary>
    public long Reserved => Saturating.Sum(Entries, entry => entry.Bytes);

    private long Touched => Saturating.Sum(Entries, entry => entry.IsTouched ? entry.Bytes : 0);

    public int IndexOf(MemoryReservation reservation)
    {
        for (int i = 0; i < Entries.Length; i++)
        {
            if (ReferenceEquals(Entries[i].Reservation, reservation))
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>Returns the memory of the process besides its reservations.</summary>
    /// <remarks>
    /// Measured memory includes all touched reservations, and an unknown part of the others. This bounds the unreserved memory from both
    /// sides; within the bounds the last known value is kept.
    /// </remarks>
    public long UnreservedAt(long measured) => Math.Clamp(
        Unreserved, Saturating.Subtract(measured, Reserved), Saturating.Subtract(measured, Touched));

    /// <summary>Returns the memory that the process uses or has reserved.</summary>
    public long CommittedAt(long measured) => Saturating.Add(Reserved, UnreservedAt(measured));

    /// <summary>Adds a reservation.</summary>
    public MemoryLedger With(MemoryReservation reservation, long bytes, long measured) =>
        new(Entries.Add(new LedgerEntry(reservation, bytes, IsTouched: false)), UnreservedAt(measured));

    /// <summary>Adds a reservation of bytes that were part of another reservation until now.</summary>
    public MemoryLedger WithSplit(MemoryReservation reservation, long bytes) =>
        this with { Entries = Entries.Add(new LedgerEntry(reservation, bytes, IsTouched: false)) };

    /// <summary>Changes the size of a reservation to the bytes that its owner touched.</summary>
    public MemoryLedger Resized(int index, long bytes) =>
        this with { Entries = Entries.SetItem(index, Entries[index] with { Bytes = bytes, IsTouched = true }) };

    public MemoryLedger Without(int index) => this with { Entries = Entries.RemoveAt(index) };
}
