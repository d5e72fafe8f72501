using StellaInterop.Vectors;

namespace StellaInterop;

/// <summary>The kind of an error, as a number that never changes its meaning.</summary>
/// <remarks>Values below 900 come from the native library; those above arise before it is called, or beside it. Each code has one exception type.</remarks>
public enum StellaErrorCode
{
    /// <summary>No error. Never thrown.</summary>
    None = 0,

    /// <summary>A defect in the native library.</summary>
    /// <remarks>Report it with the whole message, the causes in <see cref="Exception.InnerException"/> and the native log. The model can be used on.</remarks>
    Internal = 1,

    /// <summary>A panic in the native library was caught; the process goes on.</summary>
    /// <remarks>Report it, with the message and the native log. The session that panicked is not used again: load the model anew, or let a pool replace its worker by itself.</remarks>
    Panic = 2,

    /// <summary>An option is out of range or contradicts another.</summary>
    /// <remarks>The message names the option, what it was and what it may be.</remarks>
    InvalidArgument = 100,

    /// <summary>A buffer is too small.</summary>
    /// <remarks>The message says how many numbers are needed: texts times the dimension of the vectors.</remarks>
    BufferTooSmall = 101,

    /// <summary>A session was called while it was running a call.</summary>
    /// <remarks>A <see cref="StellaModel"/> never gives this: it has as many sessions as callers. Seen from C#, it is a defect: report it.</remarks>
    SessionBusy = 102,

    /// <summary>The asked precision is not available in this build or on this machine.</summary>
    /// <remarks>Choose another <see cref="StellaModelOptions.Precision"/>, or <see cref="StellaPrecision.Auto"/>. <c>stella info</c> shows what this machine has.</remarks>
    PrecisionUnavailable = 103,

    /// <summary>The model has no head of the asked dimension.</summary>
    /// <remarks>The message lists the heads that the model has; each is a folder <c>2_Dense_N</c>. <c>stella download MODEL --dimension N</c> fetches another, and <see cref="PrefixTruncation"/> makes vectors shorter without one.</remarks>
    UnknownDimension = 104,

    /// <summary>The system has not the memory that is needed.</summary>
    /// <remarks>Hold <c>StellaModel.EstimateMemory</c> against the memory of the machine. A lower precision, fewer calls at once and a smaller batch need less.</remarks>
    OutOfMemory = 105,

    /// <summary>The system refused a thread.</summary>
    /// <remarks>The process or its container is at a limit on processes or threads (<c>pids.max</c>, <c>RLIMIT_NPROC</c>). Raise it, or use fewer workers and fewer threads for each.</remarks>
    ThreadRefused = 106,

    /// <summary>The model has no prompt of the asked name.</summary>
    /// <remarks>The message lists the prompts that the folder names; <c>stella info</c> shows their texts. <c>s2p</c> and <c>s2s</c> are known to models with Stella's heads, and <c>document</c> to all.</remarks>
    UnknownPrompt = 107,

    /// <summary>The model folder does not exist or is not a folder.</summary>
    /// <remarks>The message has the path as it was resolved. Relative paths begin in the working directory of the process: prefer whole ones, or a model of the Hugging Face cache by its name.</remarks>
    ModelFolderNotFound = 200,

    /// <summary>A file that the model needs is not in its folder.</summary>
    /// <remarks>The message names the file. <c>stella verify</c> lists all that a model needs, and <c>stella download</c> goes on where it stopped.</remarks>
    ModelFileMissing = 201,

    /// <summary>A file of the model exists but cannot be read.</summary>
    /// <remarks>The message has the reason of the system: rights, a disk, or a link that leaves the folders which are allowed.</remarks>
    ModelFileUnreadable = 202,

    /// <summary>A file of the model is damaged or not what its name says.</summary>
    /// <remarks>The message says what is wrong and where in the file. Download it again: <c>stella verify</c> compares it with its hash. A pointer of Git LFS, an HTML page, text in UTF-16 and a byte order mark are recognised.</remarks>
    ModelFileInvalid = 203,

    /// <summary>Two files of the model contradict each other.</summary>
    /// <remarks>The message names both files, what was found and what was expected. Mostly they are of two models, or a head was put into the wrong folder.</remarks>
    ModelInconsistent = 204,

    /// <summary>The model is well formed but of a kind that is not supported.</summary>
    /// <remarks>The message names the key, the value and the supported values. A model has to have one of Stella's two architectures and only settings that are computed. A setting that is not computed is refused, so that no vector is silently wrong.</remarks>
    ModelUnsupported = 205,

    /// <summary><c>tokenizer.json</c> cannot be used.</summary>
    /// <remarks>The message says why. The file has to be the fast tokenizer of the model, <c>tokenizer.json</c>.</remarks>
    TokenizerInvalid = 300,

    /// <summary>A text is null or not valid Unicode.</summary>
    /// <remarks><see cref="StellaInputException.TextIndex"/> is the number of the text. A lone surrogate comes from a text that was cut in the middle of a character; <see cref="StellaEmbedOptions.InvalidTextBehavior"/> can replace it.</remarks>
    TextNotUnicode = 400,

    /// <summary>A text has more tokens than the limit, and <see cref="StellaLongTextBehavior.Error"/> was asked for.</summary>
    /// <remarks>Cut the text, or let it be cut with <see cref="StellaLongTextBehavior.Truncate"/> and look at the counts. The message says how many tokens there are and which limit holds: <see cref="StellaModelOptions.MaxTokens"/>, or the one on the length in bytes.</remarks>
    TextTooLong = 401,

    /// <summary>The tokenizer failed on a text.</summary>
    /// <remarks>Report it with the text that <see cref="StellaInputException.TextIndex"/> names. Other texts of the model are not affected.</remarks>
    TextNotTokenized = 402,

    /// <summary>The forward pass failed.</summary>
    /// <remarks>The message has the reason. If it comes again with the same texts, report it with them.</remarks>
    ForwardFailed = 500,

    /// <summary>A vector has a value that is not finite.</summary>
    /// <remarks>The weights or their arithmetic do not bear this text, which the message names: try <see cref="StellaPrecision.Float32"/>. Weights that are not finite themselves are refused when they are loaded.</remarks>
    ResultNotFinite = 501,

    /// <summary>A vector is zero: it has no direction.</summary>
    /// <remarks>The message names the text. A head of zeros does this: verify the model.</remarks>
    ResultZero = 502,

    /// <summary>The call was cancelled; surfaces as <see cref="OperationCanceledException"/>.</summary>
    /// <remarks>Nothing is to be done: the token that you passed was cancelled.</remarks>
    Cancelled = 600,

    /// <summary>The native library was not found or could not be loaded.</summary>
    /// <remarks>The message lists each path that was tried with the reason of the system, and the platforms that the package holds.</remarks>
    NativeLibraryNotFound = 900,

    /// <summary>The native library speaks another version of the ABI.</summary>
    /// <remarks>Two versions of the package are mixed: delete <c>bin</c> and <c>obj</c>, and look for an old library among the paths of the message.</remarks>
    AbiMismatch = 901,

    /// <summary>The queue of a pool is full.</summary>
    /// <remarks>Try again after <see cref="StellaPoolException.RetryAfter"/>, and tell your own callers the same. <see cref="StellaCallOptions.QueueFullMode"/> can wait instead, and docs/service.md tells how to size a pool.</remarks>
    Overloaded = 910,

    /// <summary>A call on a pool was not answered in its time.</summary>
    /// <remarks>The queue was too long for this time, or the texts were: <c>stella.queue.duration</c> and <c>stella.forward.duration</c> tell which.</remarks>
    TimedOut = 911,

    /// <summary>The model failed so often that calls are refused for a while.</summary>
    /// <remarks>The message says how the model failed, and <see cref="StellaPoolException.RetryAfter"/> when it is tried again. Nothing has to be restarted.</remarks>
    CircuitOpen = 912,

    /// <summary>The pool is draining or disposed.</summary>
    /// <remarks>The service is going down: send the call to another.</remarks>
    PoolClosed = 913,

    /// <summary>The memory budget has no room.</summary>
    /// <remarks>The message says what was asked for, what is left and what the limit is made of. Give the container more, choose a lower precision or fewer workers, or let idle models be unloaded.</remarks>
    MemoryExhausted = 920,
}
