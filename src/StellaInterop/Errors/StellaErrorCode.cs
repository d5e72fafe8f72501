namespace StellaInterop;

/// <summary>Specifies the kind of an error, by a number that never changes its meaning.</summary>
/// <remarks>
/// The native library has the values below 900 too; the other values exist only in the managed library. Each code has one exception type.
/// In addition, <see cref="StellaInputException"/> reports a text that makes a forward pass of a pool fail, with the code of that failure,
/// and a part of a text that has no token.
/// </remarks>
public enum StellaErrorCode
{
    /// <summary>No error. Never thrown.</summary>
    None = 0,

    /// <summary>The library has a defect.</summary>
    /// <remarks>
    /// Report the whole message, the causes in <see cref="Exception.InnerException"/> and the native log. The model remains usable.
    /// </remarks>
    Internal = 1,

    /// <summary>A panic in the native library was caught, and the process continues.</summary>
    /// <remarks>
    /// Report the message and the native log. The session that panicked is not used again: the next call of a
    /// <see cref="StellaModel"/> starts another session, and a pool replaces the worker.
    /// </remarks>
    Panic = 2,

    /// <summary>An option is out of range or contradicts another, or a part of a text has no token.</summary>
    /// <remarks>The message names the option, its value and the permitted values, or the part.</remarks>
    InvalidArgument = 100,

    /// <summary>A buffer of a native call is too small.</summary>
    /// <remarks>
    /// Report it as a defect. The managed library checks the buffers of a caller before the native call, and throws
    /// <see cref="ArgumentException"/> for one that is too small.
    /// </remarks>
    BufferTooSmall = 101,

    /// <summary>A session was called while it was running another call.</summary>
    /// <remarks>Report it as a defect. A <see cref="StellaModel"/> has a session for each running call.</remarks>
    SessionBusy = 102,

    /// <summary>The requested precision is not available in this build or on this machine.</summary>
    /// <remarks>
    /// Choose another <see cref="StellaModelOptions.Precision"/>, or <see cref="StellaPrecision.Auto"/>. <c>stella info</c> shows the
    /// instruction set of this machine.
    /// </remarks>
    PrecisionUnavailable = 103,

    /// <summary>The model has no head of the requested dimension.</summary>
    /// <remarks>
    /// The message lists the dimensions of the heads; each head is a folder <c>2_Dense_N</c>. <c>stella download MODEL --dimension N</c>
    /// fetches another head, and <see cref="Vectors.PrefixTruncation"/> shortens vectors without one.
    /// </remarks>
    UnknownDimension = 104,

    /// <summary>The system could not allocate memory.</summary>
    /// <remarks>
    /// Compare <c>StellaModel.EstimateMemory</c> with the memory of the machine. A lower precision, fewer calls at once and a smaller batch
    /// need less.
    /// </remarks>
    OutOfMemory = 105,

    /// <summary>The system refused a thread.</summary>
    /// <remarks>
    /// The process or its container is at a limit on processes or threads (<c>pids.max</c>, <c>RLIMIT_NPROC</c>). Raise the limit, or use
    /// fewer workers and fewer threads for each.
    /// </remarks>
    ThreadRefused = 106,

    /// <summary>The model has no prompt of the requested name.</summary>
    /// <remarks>
    /// The message lists the prompts of the model; <c>stella info</c> shows their texts. Models with Stella's heads always know <c>s2p</c>
    /// and <c>s2s</c>, and all models know <c>document</c>.
    /// </remarks>
    UnknownPrompt = 107,

    /// <summary>The model folder does not exist or is not a folder.</summary>
    /// <remarks>
    /// The message has the path as it was passed. A relative path starts at the working directory of the process: prefer an absolute path,
    /// or the name of a model in the Hugging Face cache.
    /// </remarks>
    ModelFolderNotFound = 200,

    /// <summary>A file that the model needs is not in its folder.</summary>
    /// <remarks>
    /// The message names the file. <c>stella verify</c> lists the missing files of a model with a manifest, and <c>stella download</c>
    /// continues a download that was interrupted.
    /// </remarks>
    ModelFileMissing = 201,

    /// <summary>A file of the model exists but cannot be read, or a manifest cannot be written.</summary>
    /// <remarks>
    /// The message or its cause has the reason, such as permissions, a disk error or a link that leads out of the permitted folders.
    /// </remarks>
    ModelFileUnreadable = 202,

    /// <summary>A file of the model is damaged, or its content does not fit its name.</summary>
    /// <remarks>
    /// The message says what is wrong and where in the file. Download the file again; <c>stella verify</c> compares files with their
    /// hashes. A Git LFS pointer, an HTML page, text in UTF-16 and a byte order mark are recognized.
    /// </remarks>
    ModelFileInvalid = 203,

    /// <summary>Two files of the model contradict each other.</summary>
    /// <remarks>
    /// The message names both files, the value that was found and the value that was expected. Usually the files are from two models, or a
    /// head is in the wrong folder.
    /// </remarks>
    ModelInconsistent = 204,

    /// <summary>The model is well formed, but the library does not support it.</summary>
    /// <remarks>
    /// The message names the key, the value and the supported values. A model must have one of Stella's two architectures and no setting
    /// that the library does not compute. Other models are refused, so that no vector is silently wrong.
    /// </remarks>
    ModelUnsupported = 205,

    /// <summary><c>tokenizer.json</c> cannot be used.</summary>
    /// <remarks>The message says why. The file has to be the fast tokenizer of the model, <c>tokenizer.json</c>.</remarks>
    TokenizerInvalid = 300,

    /// <summary>A text is null or not valid Unicode.</summary>
    /// <remarks>
    /// <see cref="StellaInputException.TextIndex"/> is the index of the text. A surrogate without a partner comes from a text that was cut
    /// in the middle of a character; <see cref="StellaEmbedOptions.InvalidTextBehavior"/> can replace it.
    /// </remarks>
    TextNotUnicode = 400,

    /// <summary>
    /// A text has more tokens than the limit, and <see cref="StellaLongTextBehavior.Error"/> was set; or a part is beyond the truncation of
    /// its text.
    /// </summary>
    /// <remarks>
    /// Shorten the text, or set <see cref="StellaLongTextBehavior.Truncate"/> and read the token counts. The message has the length and the
    /// limit: <see cref="StellaModelOptions.MaxTokens"/>, or the limit on the length in bytes.
    /// </remarks>
    TextTooLong = 401,

    /// <summary>The tokenizer failed on a text.</summary>
    /// <remarks>
    /// Report the message with the text at <see cref="StellaInputException.TextIndex"/>. The model can embed other texts.
    /// </remarks>
    TextNotTokenized = 402,

    /// <summary>The forward pass failed.</summary>
    /// <remarks>The message and its causes have the reason. Report them with the texts if the same texts fail again.</remarks>
    ForwardFailed = 500,

    /// <summary>A vector has a value that is not finite.</summary>
    /// <remarks>
    /// The arithmetic overflowed for the text that the message names: try <see cref="StellaPrecision.Float32"/>. A load refuses weights
    /// that are not finite themselves, unless <see cref="StellaModelOptions.CheckWeights"/> is off.
    /// </remarks>
    ResultNotFinite = 501,

    /// <summary>A vector is zero, so that it has no direction.</summary>
    /// <remarks>The message names the text. A head with weights of zero causes this: verify the model.</remarks>
    ResultZero = 502,

    /// <summary>The call was cancelled; the exception is <see cref="OperationCanceledException"/>.</summary>
    /// <remarks>No action is needed: the token of the call was cancelled.</remarks>
    Cancelled = 600,

    /// <summary>The native library was not found or could not be loaded.</summary>
    /// <remarks>
    /// The message lists each path with the reason why it failed. If the package has no library for this platform, the message also lists
    /// the platforms that it supports.
    /// </remarks>
    NativeLibraryNotFound = 900,

    /// <summary>The native library has another version of the ABI than the managed library.</summary>
    /// <remarks>
    /// Two versions of the package are mixed: delete <c>bin</c> and <c>obj</c>, and look for an old library at the path in the message.
    /// </remarks>
    AbiMismatch = 901,

    /// <summary>The queue of a pool is full.</summary>
    /// <remarks>
    /// Try again after <see cref="StellaPoolException.RetryAfter"/>, and pass this time on to your own callers. With
    /// <see cref="StellaQueueFullMode.Wait"/> a call waits for room instead. docs/service.md explains how to size a pool.
    /// </remarks>
    Overloaded = 910,

    /// <summary>A pool did not answer a call within its timeout.</summary>
    /// <remarks>
    /// The queue or the texts were too long for the timeout: the metrics <c>stella.queue.duration</c> and <c>stella.forward.duration</c>
    /// show which.
    /// </remarks>
    TimedOut = 911,

    /// <summary>The model failed so often that calls are refused for a while.</summary>
    /// <remarks>
    /// The message says how the model failed. The pool lets calls through again after <see cref="StellaPoolException.RetryAfter"/>, without
    /// a restart.
    /// </remarks>
    CircuitOpen = 912,

    /// <summary>The pool is draining, or was closed before the call had its answer.</summary>
    /// <remarks>The service is shutting down: send the call to another instance.</remarks>
    PoolClosed = 913,

    /// <summary>The memory budget has no room for a model or a worker.</summary>
    /// <remarks>
    /// The message has the requested and the available memory, and the terms of the limit. Give the container more memory, choose a lower
    /// precision or fewer workers, or dispose models that are not needed.
    /// </remarks>
    MemoryExhausted = 920,
}
