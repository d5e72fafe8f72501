namespace StellaInterop;

/// <summary>Memory is not available: a memory budget has no room for it, or the system refused it.</summary>
/// <remarks>
/// <see cref="StellaException.Code"/> tells the two apart: <see cref="StellaErrorCode.MemoryExhausted"/> comes from the
/// budget, before anything is allocated, and <see cref="StellaErrorCode.OutOfMemory"/> from an allocation that failed. The
/// error describes one moment: memory that is freed later is available later.
/// </remarks>
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

    /// <summary>Makes the error of an allocation that the system refused.</summary>
    /// <param name="message">The message, which names the size and the purpose.</param>
    /// <param name="innerException">The cause.</param>
    internal StellaMemoryException(string message, Exception? innerException)
        : base(StellaErrorCode.OutOfMemory, message, innerException) => LimitedBy = "the system";

    /// <summary>Gets the number of bytes that were requested; <see langword="null"/> when the system refused, where only the message has it.</summary>
    public long? RequestedBytes { get; }

    /// <summary>Gets the number of bytes that the budget had left; <see langword="null"/> when the system refused.</summary>
    public long? AvailableBytes { get; }

    /// <summary>Gets the limit of the process, see <see cref="StellaMemoryStatus.LimitBytes"/>; <see langword="null"/> when the system refused.</summary>
    public long? LimitBytes { get; }

    /// <summary>Gets the place of the tightest limit, see <see cref="StellaMemoryStatus.LimitedBy"/>; <c>the system</c> when the system refused.</summary>
    public string LimitedBy { get; }
}
