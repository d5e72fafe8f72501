using StellaInterop.Memory;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests.Memory;

/// <summary>An owner of one reservation, which it releases on request while it is idle.</summary>
internal sealed class FakeIdleMemory : IIdleMemory, IDisposable
{
    private readonly MemoryReservation reservation;
    private readonly IDisposable registration;
    private long? idleSince;
    private int releaseRequests;

    public FakeIdleMemory(StellaMemoryGovernor governor, string name, long bytes, long? idleSince)
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

    /// <summary>Runs at each request, before the release. Returns whether the owner releases its reservation.</summary>
    public Func<bool> OnRelease { get; set; } = static () => true;

    public int ReleaseRequests => Volatile.Read(ref releaseRequests);

    public bool TryRelease()
    {
        Interlocked.Increment(ref releaseRequests);
        if (!OnRelease())
        {
            return false;
        }

        Released = true;
        reservation.Dispose();
        return true;
    }

    /// <summary>Marks the owner as in use.</summary>
    public void Use() => idleSince = null;

    public void Unregister() => registration.Dispose();

    public void Dispose()
    {
        Unregister();
        reservation.Dispose();
    }
}
