namespace StellaInterop;

/// <summary>Represents a lack of memory: a memory budget has no room, or the system refused an allocation.</summary>
/// <remarks>
/// <see cref="StellaException.Code"/> is <see cref="StellaErrorCode.MemoryExhausted"/> if the budget has no room, before anything is
/// allocated, and <see cref="StellaErrorCode.OutOfMemory"/> if an allocation failed. A later call may succeed once memory is freed.
/// </remarks>
public sealed class StellaMemoryException : StellaException
{
    /// <summary>Initializes the error of a reservation that does not fit into a memory budget.</summary>
    internal StellaMemoryException(string message, long requestedBytes, long availableBytes, long limitBytes, string limitSource)
        : base(StellaErrorCode.MemoryExhausted, message)
    {
        RequestedBytes = requestedBytes;
        AvailableBytes = availableBytes;
        LimitBytes = limitBytes;
        LimitSource = limitSource;
    }

    /// <summary>Initializes the error of an allocation that the system refused.</summary>
    /// <param name="message">The message, which names the size and the purpose.</param>
    /// <param name="innerException">The cause.</param>
    internal StellaMemoryException(string message, Exception? innerException)
        : base(StellaErrorCode.OutOfMemory, message, innerException) => LimitSource = "the system";

    /// <summary>
    /// Gets the number of requested bytes; <see langword="null"/> if the system refused an allocation, whose size only the message has.
    /// </summary>
    public long? RequestedBytes { get; }

    /// <summary>Gets the number of bytes that the budget had left; <see langword="null"/> if the system refused an allocation.</summary>
    public long? AvailableBytes { get; }

    /// <summary>
    /// Gets the limit of the process in bytes, see <see cref="StellaMemoryStatus.LimitBytes"/>; <see langword="null"/> if the system
    /// refused an allocation.
    /// </summary>
    public long? LimitBytes { get; }

    /// <summary>
    /// Gets the source of the tightest limit, see <see cref="StellaMemoryStatus.LimitSource"/>; <c>the system</c> if the system refused an
    /// allocation.
    /// </summary>
    public string LimitSource { get; }
}
