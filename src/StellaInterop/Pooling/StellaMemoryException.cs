namespace StellaInterop;

/// <summary>The memory budget has no room, and letting go of everything idle would not make enough.</summary>
/// <remarks>It tells of one moment: memory that is freed later can be had later.</remarks>
public sealed class StellaMemoryException : StellaException
{
    internal StellaMemoryException(string message, long requestedBytes, StellaMemoryStatus status)
        : base(StellaErrorCode.MemoryExhausted, message)
    {
        RequestedBytes = requestedBytes;
        AvailableBytes = status.AvailableBytes;
        LimitBytes = status.LimitBytes;
        LimitedBy = status.LimitedBy;
    }

    /// <summary>Bytes that were asked for.</summary>
    public long RequestedBytes { get; }

    /// <summary>Bytes that were there.</summary>
    public long AvailableBytes { get; }

    /// <summary>What the process may use in all; see <see cref="StellaMemoryStatus.LimitBytes"/>.</summary>
    public long LimitBytes { get; }

    /// <summary>Where the tightest limit stands; see <see cref="StellaMemoryStatus.LimitedBy"/>.</summary>
    public string LimitedBy { get; }
}
