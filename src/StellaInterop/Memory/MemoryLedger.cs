using System.Collections.Immutable;

namespace StellaInterop.Memory;

/// <summary>One live reservation.</summary>
/// <param name="Reservation">The reservation.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Taken">Whether its owner has said that the bytes are touched.</param>
internal readonly record struct LedgerEntry(MemoryReservation Reservation, long Bytes, bool Taken);

/// <summary>What is reserved. A value: a change makes another one, so that a reader needs no lock.</summary>
/// <param name="Entries">The live reservations, in the order in which they were made.</param>
/// <param name="Unreserved">What the process used beside its reservations when the last one was made.</param>
internal sealed record MemoryLedger(ImmutableArray<LedgerEntry> Entries, long Unreserved)
{
    public static MemoryLedger Empty { get; } = new([], 0);

    /// <summary>Added up anew each time, so that no lost or doubled correction can make it drift.</summary>
    public long Reserved => Saturating.Sum(Entries, entry => entry.Bytes);

    private long Taken => Saturating.Sum(Entries, entry => entry.Taken ? entry.Bytes : 0);

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

    /// <summary>
    /// What the process uses beside its reservations. What is measured holds all that was taken, and of what was not yet
    /// said to be taken anything from nothing to all: between the two bounds, the last value that was known stays.
    /// </summary>
    public long UnreservedAt(long measured) => Math.Clamp(
        Unreserved, Saturating.Subtract(measured, Reserved), Saturating.Subtract(measured, Taken));

    /// <summary>What the process uses, and may still use without asking again.</summary>
    public long CommittedAt(long measured) => Saturating.Add(Reserved, UnreservedAt(measured));

    public MemoryLedger With(MemoryReservation reservation, long bytes, long measured) =>
        new(Entries.Add(new LedgerEntry(reservation, bytes, Taken: false)), UnreservedAt(measured));

    /// <summary>The same with a reservation of bytes that were a part of another one until now.</summary>
    public MemoryLedger Beside(MemoryReservation reservation, long bytes) =>
        this with { Entries = Entries.Add(new LedgerEntry(reservation, bytes, Taken: false)) };

    public MemoryLedger Resized(int index, long bytes) =>
        this with { Entries = Entries.SetItem(index, Entries[index] with { Bytes = bytes, Taken = true }) };

    public MemoryLedger Without(int index) => this with { Entries = Entries.RemoveAt(index) };
}
