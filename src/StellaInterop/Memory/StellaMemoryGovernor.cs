using System.Collections.Immutable;
using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop;

/// <summary>
/// Manages one memory budget, in which pools reserve the memory of their models and workers, so that all pools together stay under
/// the limits of the process.
/// </summary>
/// <remarks>
/// <para>
/// Thread-safe. Pools share one governor, <see cref="Shared"/> by default, because two governors would each hand out all of the memory.
/// </para>
/// <para>
/// A reservation fits if it is at most <c>available = limit - reserved - unreserved</c>. A difference below zero counts as zero.
/// </para>
/// <list type="bullet">
/// <item><description>
/// <c>limit</c> is the least of <see cref="StellaMemoryGovernorOptions.LimitBytes"/>, the memory of the machine, and the limits of the
/// process's control group and of all groups above it. The limits of a group are <c>memory.max</c> and <c>memory.high</c>, or
/// <c>memory.limit_in_bytes</c> and <c>hierarchical_memory_limit</c> in version 1. Headroom
/// (<see cref="StellaMemoryGovernorOptions.HeadroomFraction"/>, <see cref="StellaMemoryGovernorOptions.HeadroomBytes"/>) and the memory of
/// other processes are subtracted from each limit of the system.
/// </description></item>
/// <item><description>
/// Other processes use the memory of the machine that is neither <c>MemAvailable</c> nor measured in this process. In a control group they
/// use the memory of <c>memory.stat</c> that the system cannot drop, less the measured memory. The page cache does not count. Without
/// <c>MemAvailable</c> or <c>memory.stat</c> their memory is not known and counts as zero.
/// </description></item>
/// <item><description><c>reserved</c> is the sum of the live reservations, whether or not their memory is touched.</description></item>
/// <item><description>
/// <c>unreserved</c> is the memory that the process uses besides its reservations, such as managed memory: the measured <c>RssAnon</c> less
/// the touched part of the reservations. Pools report the touched part after a load, which makes the value exact. Before, the value is
/// between <c>measured - reserved</c> and <c>measured - reported</c>, and the last value is kept within these bounds. So the weights of
/// a model count once: as a reservation during the load, and as measured memory afterwards.
/// </description></item>
/// </list>
/// <para>
/// Without <c>/proc</c> the memory of the machine is <c>GCMemoryInfo.TotalAvailableMemoryBytes</c>, and the measured memory is the working
/// set.
/// </para>
/// <para>
/// If a reservation does not fit, idle models are unloaded until it fits, the least recently used first. No model is unloaded if all idle
/// models together are too small.
/// </para>
/// </remarks>
public sealed class StellaMemoryGovernor
{
    /// <summary>The age up to which <see cref="GetStatus"/> uses the last reading. Reservations always read again.</summary>
    private static readonly TimeSpan ReadingAge = TimeSpan.FromSeconds(1);

    private readonly StellaMemoryGovernorOptions options;
    private readonly PoolClock clock;
    private readonly MemoryReader reader;

    // Protects changes of the ledger. No code under it can take it again.
    private readonly Lock gate = new();
    private volatile State state = new(MemoryLedger.Empty, Reading: null);
    private ImmutableArray<Registration> registrations = [];

    /// <summary>Initializes a memory budget that is separate from <see cref="Shared"/>. Reads no file yet.</summary>
    /// <param name="options">The options; <see langword="null"/> for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="ArgumentNullException"><see cref="StellaMemoryGovernorOptions.TimeProvider"/> is null.</exception>
    public StellaMemoryGovernor(StellaMemoryGovernorOptions? options = null)
    {
        this.options = options is null ? new StellaMemoryGovernorOptions() : options with { };
        this.options.Check();
        clock = new PoolClock(this.options.TimeProvider);
        reader = new MemoryReader(this.options);
    }

    /// <summary>
    /// Gets the governor with default options that pools use if their options name none. There is one per process.
    /// </summary>
    public static StellaMemoryGovernor Shared { get; } = new();

    /// <summary>Returns the reservations and the memory that is left, from a reading that is at most a second old.</summary>
    /// <remarks>Takes no lock, so it never waits for a reservation. Reads a few small files at most once a second.</remarks>
    public StellaMemoryStatus GetStatus()
    {
        State seen = state;
        long now = clock.Now;
        if (seen.Reading is { } last && clock.Between(last.Timestamp, now) < ReadingAge)
        {
            return StatusOf(seen.Ledger, last);
        }

        MemoryReading reading = reader.Read(now);
        // Not kept if the ledger changed meanwhile: a reading from before a load is too low after it.
        _ = Interlocked.CompareExchange(ref state, seen with { Reading = reading }, seen);
        return StatusOf(seen.Ledger, reading);
    }

    /// <summary>Reserves memory. Unloads idle models if the reservation does not fit.</summary>
    /// <param name="owner">The name of the owner in the status and in messages.</param>
    /// <param name="bytes">The size, 0 or more.</param>
    /// <param name="mayUnload">Whether idle models may be unloaded.</param>
    /// <exception cref="StellaMemoryException">The reservation does not fit.</exception>
    internal MemoryReservation Reserve(string owner, long bytes, bool mayUnload = true)
    {
        ArgumentException.ThrowIfNullOrEmpty(owner);
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        var asked = new HashSet<Registration>();
        while (true)
        {
            if (TryReserve(owner, bytes, out MemoryLedger ledger, out MemoryReading reading) is { } reservation)
            {
                return reservation;
            }

            // If the process is above the limit already, the excess has to be freed too.
            long excess = Saturating.Subtract(ledger.CommittedAt(reading.Measured), reading.Tightest.Usable);
            long missing = Saturating.Add(excess, bytes - Available(ledger, reading));
            Idle[] idle = mayUnload ? IdleExcept(asked) : [];
            long idleBytes = Saturating.Sum(idle, candidate => candidate.Bytes);
            if (idleBytes < missing)
            {
                throw MemoryRefusal.Create(owner, bytes, idleBytes, ledger, reading, StatusOf(ledger, reading));
            }

            // Each owner is asked once, so the loop ends. It tries again even after a refusal, because other code may have freed memory.
            asked.Add(idle[0].Registration);
            _ = idle[0].Registration.Memory.TryRelease();
        }
    }

    /// <summary>Registers an owner that can free idle memory, until the result is disposed.</summary>
    internal IDisposable Register(IIdleMemory memory)
    {
        var registration = new Registration(this, memory);
        ImmutableInterlocked.Update(ref registrations, (all, added) => all.Add(added), registration);
        return registration;
    }

    internal long BytesOf(MemoryReservation reservation)
    {
        MemoryLedger ledger = state.Ledger;
        int index = ledger.IndexOf(reservation);
        return index < 0 ? 0 : ledger.Entries[index].Bytes;
    }

    internal bool TryResize(MemoryReservation reservation, long bytes) =>
        Change(reservation, (ledger, index) => ledger.Resized(index, bytes));

    /// <summary>Resizes a reservation and makes a second one under one lock, even if there is no room.</summary>
    internal MemoryReservation? TrySplit(MemoryReservation reservation, string owner, long bytes, long rest)
    {
        var second = new MemoryReservation(this, owner);
        return Change(reservation, (ledger, index) => ledger.Resized(index, rest).WithSplit(second, bytes)) ? second : null;
    }

    internal void Release(MemoryReservation reservation) =>
        Change(reservation, (ledger, index) => ledger.Without(index));

    private static StellaMemoryStatus StatusOf(MemoryLedger ledger, MemoryReading reading) => new()
    {
        LimitBytes = reading.Tightest.Usable,
        LimitSource = reading.LimitSource,
        ReservedBytes = ledger.Reserved,
        MeasuredBytes = reading.Measured,
        AvailableBytes = Available(ledger, reading),
        Owners =
        [
            .. ledger.Entries
                .GroupBy(
                    entry => entry.Reservation.Owner,
                    (name, entries) => new StellaMemoryOwner { Name = name, Bytes = Saturating.Sum(entries, entry => entry.Bytes) },
                    StringComparer.Ordinal)
                .OrderByDescending(owner => owner.Bytes),
        ],
    };

    private static long Available(MemoryLedger ledger, MemoryReading reading) =>
        Saturating.Subtract(reading.Tightest.Usable, ledger.CommittedAt(reading.Measured));

    /// <summary>Measures and decides under one lock, so that no other reservation or resize can slip in between.</summary>
    private MemoryReservation? TryReserve(string owner, long bytes, out MemoryLedger ledger, out MemoryReading reading)
    {
        // Read outside the lock, because the host's clock may call back.
        long now = clock.Now;
        lock (gate)
        {
            reading = reader.Read(now);
            ledger = state.Ledger;
            if (bytes > Available(ledger, reading))
            {
                return null;
            }

            var reservation = new MemoryReservation(this, owner);
            state = new State(ledger.With(reservation, bytes, reading.Measured), reading);
            return reservation;
        }
    }

    /// <summary>Changes the entry of a live reservation, and drops the last reading, because the memory changed with the entry.</summary>
    private bool Change(MemoryReservation reservation, Func<MemoryLedger, int, MemoryLedger> change)
    {
        lock (gate)
        {
            MemoryLedger ledger = state.Ledger;
            int index = ledger.IndexOf(reservation);
            if (index < 0)
            {
                return false;
            }

            state = new State(change(ledger, index), Reading: null);
            return true;
        }
    }

    /// <summary>
    /// Returns the owners that could free idle memory, the least recently used first. Calls the owners, so no lock may be held.
    /// </summary>
    private Idle[] IdleExcept(HashSet<Registration> asked) =>
    [
        .. registrations
            .Where(registration => !asked.Contains(registration))
            .Select(registration => (Registration: registration, Since: registration.Memory.IdleSince))
            .Where(owner => owner.Since is not null)
            .OrderBy(owner => owner.Since)
            .Select(owner => new Idle(owner.Registration, owner.Registration.Memory.IdleBytes))
            .Where(idle => idle.Bytes > 0),
    ];

    /// <summary>The ledger and the last reading in one reference, so that readers need no lock.</summary>
    private sealed record State(MemoryLedger Ledger, MemoryReading? Reading);

    private readonly record struct Idle(Registration Registration, long Bytes);

    private sealed class Registration(StellaMemoryGovernor governor, IIdleMemory memory) : IDisposable
    {
        public IIdleMemory Memory => memory;

        public void Dispose() =>
            ImmutableInterlocked.Update(ref governor.registrations, (all, gone) => all.Remove(gone), this);
    }
}
