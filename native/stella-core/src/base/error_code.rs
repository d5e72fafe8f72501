//! The numbers by which errors are known outside this process image.

/// What went wrong, as a number that never changes its meaning.
///
/// Grouped by hundreds, with gaps left for what comes; a retired number is never given out again.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A defect in the library itself.
    Internal = 1,
    /// A panic was caught at the library's boundary. The handle that was in use should be replaced.
    Panic = 2,

    /// An argument is null, misaligned, out of range or contradicts another.
    InvalidArgument = 100,
    /// The caller's buffer is too small; the needed length was reported.
    BufferTooSmall = 101,
    /// The session is already running a call on another thread.
    SessionBusy = 102,
    /// The asked precision is not available in this build or on this machine.
    PrecisionUnavailable = 103,
    /// The model has no head of the asked dimension.
    UnknownDimension = 104,
    /// The system could not allocate the memory that is needed.
    OutOfMemory = 105,
    /// The system refused a thread.
    ThreadRefused = 106,
    /// The model has no prompt of the asked name.
    UnknownPrompt = 107,

    /// The model folder does not exist or is not a folder.
    ModelFolderNotFound = 200,
    /// A file that the model needs is not in its folder.
    ModelFileMissing = 201,
    /// A file of the model exists but cannot be read.
    ModelFileUnreadable = 202,
    /// A file of the model is damaged or not what its name says.
    ModelFileInvalid = 203,
    /// Two files of the model contradict each other.
    ModelInconsistent = 204,
    /// The model is well formed but of a kind that this library does not compute.
    ModelUnsupported = 205,

    /// `tokenizer.json` cannot be used.
    TokenizerInvalid = 300,

    /// A text is not valid Unicode.
    TextNotUnicode = 400,
    /// A text has more tokens than the limit, and the caller asked for an error instead of a cut.
    TextTooLong = 401,
    /// The tokenizer failed on a text.
    TextNotTokenized = 402,

    /// The forward pass failed.
    ForwardFailed = 500,
    /// The forward pass gave a value that is not finite.
    ResultNotFinite = 501,
    /// The forward pass gave a vector of zeros, which has no direction.
    ResultZero = 502,

    /// The caller cancelled the call.
    Cancelled = 600,
}
