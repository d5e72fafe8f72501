//! The codes of errors in the C ABI.

/// The code of an error. A code never changes its meaning.
///
/// Codes are grouped by hundreds, with gaps for new codes. The code of a removed error is not used again.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A defect in the library itself.
    Internal = 1,
    /// A panic was caught at the boundary of the library. Replace the handle of the call.
    Panic = 2,

    /// An argument is null, misaligned, out of range or contradicts another.
    InvalidArgument = 100,
    /// The buffer of the caller is too small. The call reported the needed length.
    BufferTooSmall = 101,
    /// The session is already running a call on another thread.
    SessionBusy = 102,
    /// The requested precision is not available in this build or on this machine.
    PrecisionUnavailable = 103,
    /// The model has no head of the requested dimension.
    UnknownDimension = 104,
    /// There is not enough memory.
    OutOfMemory = 105,
    /// The system refused to start a thread.
    ThreadRefused = 106,
    /// The model has no prompt of the requested name.
    UnknownPrompt = 107,

    /// The model folder does not exist or is not a folder.
    ModelFolderNotFound = 200,
    /// A required file is not in the model folder.
    ModelFileMissing = 201,
    /// A file of the model exists but cannot be read.
    ModelFileUnreadable = 202,
    /// A file of the model is damaged, or its contents do not match its name.
    ModelFileInvalid = 203,
    /// Two files of the model contradict each other.
    ModelInconsistent = 204,
    /// The model is valid, but has a feature that this library does not support.
    ModelUnsupported = 205,

    /// `tokenizer.json` cannot be used.
    TokenizerInvalid = 300,

    /// A text is not valid Unicode.
    TextNotUnicode = 400,
    /// A text has more tokens than the limit, and the caller did not allow truncation.
    TextTooLong = 401,
    /// The tokenizer failed on a text.
    TextNotTokenized = 402,

    /// The forward pass failed.
    ForwardFailed = 500,
    /// The forward pass returned a value that is not finite.
    ResultNotFinite = 501,
    /// The forward pass returned a vector of zeros, which has no direction.
    ResultZero = 502,

    /// The caller cancelled the call.
    Cancelled = 600,
}
