namespace StellaInterop;

/// <summary>What went wrong, as a number that never changes its meaning.</summary>
/// <remarks>Values below 900 come from the native library and are grouped by hundreds; those above arise before it is called, or beside it.</remarks>
public enum StellaErrorCode
{
    /// <summary>No error. Never thrown.</summary>
    None = 0,

    /// <summary>A defect in the native library.</summary>
    Internal = 1,

    /// <summary>A panic in the native library was caught; the process goes on.</summary>
    Panic = 2,

    /// <summary>An option is out of range or contradicts another.</summary>
    InvalidArgument = 100,

    /// <summary>A buffer is too small.</summary>
    BufferTooSmall = 101,

    /// <summary>A session was called while it was running a call.</summary>
    SessionBusy = 102,

    /// <summary>The asked precision is not available in this build or on this machine.</summary>
    PrecisionUnavailable = 103,

    /// <summary>The model has no head of the asked dimension.</summary>
    UnknownDimension = 104,

    /// <summary>The system has not the memory that is needed.</summary>
    OutOfMemory = 105,

    /// <summary>The model folder does not exist or is not a folder.</summary>
    ModelFolderNotFound = 200,

    /// <summary>A file that the model needs is not in its folder.</summary>
    ModelFileMissing = 201,

    /// <summary>A file of the model exists but cannot be read.</summary>
    ModelFileUnreadable = 202,

    /// <summary>A file of the model is damaged or not what its name says.</summary>
    ModelFileInvalid = 203,

    /// <summary>Two files of the model contradict each other.</summary>
    ModelInconsistent = 204,

    /// <summary>The model is well formed but of a kind that is not supported.</summary>
    ModelUnsupported = 205,

    /// <summary><c>tokenizer.json</c> cannot be used.</summary>
    TokenizerInvalid = 300,

    /// <summary>A text is null or not valid Unicode.</summary>
    TextNotUnicode = 400,

    /// <summary>A text has more tokens than the limit, and <see cref="StellaLongText.Error"/> was asked for.</summary>
    TextTooLong = 401,

    /// <summary>The tokenizer failed on a text.</summary>
    TextNotTokenized = 402,

    /// <summary>The forward pass failed.</summary>
    ForwardFailed = 500,

    /// <summary>A vector has a value that is not finite.</summary>
    ResultNotFinite = 501,

    /// <summary>A vector is zero: it has no direction.</summary>
    ResultZero = 502,

    /// <summary>The call was cancelled; surfaces as <see cref="OperationCanceledException"/>.</summary>
    Cancelled = 600,

    /// <summary>The native library was not found or could not be loaded.</summary>
    NativeLibraryNotFound = 900,

    /// <summary>The native library speaks another version of the ABI.</summary>
    AbiMismatch = 901,

    /// <summary>The queue of a pool is full.</summary>
    Overloaded = 910,

    /// <summary>A call on a pool was not answered in its time.</summary>
    TimedOut = 911,

    /// <summary>The model failed so often that calls are refused for a while.</summary>
    CircuitOpen = 912,

    /// <summary>The pool is draining or disposed.</summary>
    PoolClosed = 913,

    /// <summary>The memory budget has no room.</summary>
    MemoryExhausted = 920,
}
