using StellaInterop.Memory;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests.Memory;

/// <summary>Holds one reservation, and lets go of it when it is idle and asked to.</summary>
internal sealed class IdleHolder : IIdleMemory, IDisposable
{
    private readonly MemoryReservation reservation;
    private readonly IDisposable registration;
    private long? idleSince;
    private int asked;

    public IdleHolder(StellaMemoryGovernor governor, string name, long bytes, long? idleSince)
    {
        Name = name;
        this.idleSince = idleSince;
        reservation = governor.Reserve(name, bytes);
        registration = governor.Register(this);
    }

    public string Name { get; }

    public long? IdleSince => Released ? null : idleSince;

    public long IdleBytes => reservation.Bytes;

    public bool Released { get; private set; }

    /// <summary>Called when it is asked to let go, before it does. What it returns is whether it does.</summary>
    public Func<bool> OnRelease { get; set; } = static () => true;

    public int Asked => Volatile.Read(ref asked);

    public bool TryRelease()
    {
        Interlocked.Increment(ref asked);
        if (!OnRelease())
        {
            return false;
        }

        Released = true;
        reservation.Dispose();
        return true;
    }

    /// <summary>Is in use from here on.</summary>
    public void Use() => idleSince = null;

    public void Unregister() => registration.Dispose();

    public void Dispose()
    {
        Unregister();
        reservation.Dispose();
    }
}
