namespace StellaInterop;

/// <summary>Represents an error of this library. The other exception types of the library derive from it.</summary>
/// <remarks>
/// Causes that native code reports form the chain of <see cref="Exception.InnerException"/>. Messages may quote files:
/// control characters are escaped, so that a message is safe for a terminal and a log.
/// </remarks>
public class StellaException : Exception
{
    /// <summary>Initializes an error.</summary>
    /// <param name="code">The kind of the error.</param>
    /// <param name="message">
    /// The message: the fault, its location and the remedy. Control characters, line breaks included, are escaped.
    /// </param>
    /// <param name="innerException">The cause; <see langword="null"/> without one.</param>
    public StellaException(StellaErrorCode code, string message, Exception? innerException = null)
        : base(Printable.Line(message ?? ""), innerException) => Code = code;

    /// <summary>Initializes an error whose message has several lines.</summary>
    private protected StellaException(StellaErrorCode code, IEnumerable<string> lines, Exception? innerException)
        : base(string.Join('\n', lines.Select(Printable.Line)), innerException) => Code = code;

    /// <summary>Gets the kind of the error, a number that never changes its meaning.</summary>
    public StellaErrorCode Code { get; }
}

/// <summary>
/// Represents the error of an option that the model or the machine cannot meet, such as a dimension, a precision or a limit.
/// </summary>
public sealed class StellaOptionException : StellaException
{
    internal StellaOptionException(StellaErrorCode code, string message, Exception? innerException = null)
        : base(code, message, innerException)
    {
    }
}

/// <summary>Represents the error of a model folder that is missing, damaged or not supported. The message names the file.</summary>
public sealed class StellaModelFolderException : StellaException
{
    internal StellaModelFolderException(StellaErrorCode code, string message, Exception? innerException = null)
        : base(code, message, innerException)
    {
    }
}

/// <summary>Represents the error of a <c>tokenizer.json</c> that cannot be used.</summary>
public sealed class StellaTokenizerException : StellaException
{
    internal StellaTokenizerException(StellaErrorCode code, string message, Exception? innerException = null)
        : base(code, message, innerException)
    {
    }
}

/// <summary>Represents the refusal of a thread by the system. A later call may succeed once other threads have ended.</summary>
public sealed class StellaThreadException : StellaException
{
    internal StellaThreadException(string message, Exception? innerException = null)
        : base(StellaErrorCode.ThreadRefused, message, innerException)
    {
    }
}

/// <summary>Represents the error of a text that cannot be tokenized or embedded.</summary>
public sealed class StellaInputException : StellaException
{
    internal StellaInputException(StellaErrorCode code, string message, int textIndex, Exception? innerException = null)
        : base(code, message, innerException) => TextIndex = textIndex;

    /// <summary>
    /// Gets the index of the text in the list or the stream of the caller. For a part that <see cref="StellaModel.EmbedParts"/> cannot
    /// embed, it is the index of the part.
    /// </summary>
    public int TextIndex { get; }
}

/// <summary>Represents the error of a native library that has another version of the ABI than this assembly.</summary>
public sealed class StellaAbiMismatchException : StellaException
{
    internal StellaAbiMismatchException(string message)
        : base(StellaErrorCode.AbiMismatch, message)
    {
    }
}

/// <summary>Represents the error of a native library that was not found or could not be loaded.</summary>
public sealed class StellaNativeLibraryNotFoundException : StellaException
{
    internal StellaNativeLibraryNotFoundException(
        string message, IReadOnlyList<StellaLoadAttempt> attempts, Exception? innerException)
        : base(
            StellaErrorCode.NativeLibraryNotFound,
            [message, "Tried:", .. attempts.Select(attempt => $"  {attempt.Path}: {attempt.Reason}")],
            innerException) => Attempts = attempts;

    /// <summary>Gets the attempts to load the library, in order. Each has a path and the reason why it failed.</summary>
    public IReadOnlyList<StellaLoadAttempt> Attempts { get; }
}

/// <summary>Represents a failed attempt to load the native library.</summary>
public sealed record StellaLoadAttempt
{
    internal StellaLoadAttempt()
    {
    }

    /// <summary>Gets the path, or the name of the library with a note for the search of the runtime.</summary>
    public required string Path { get; init; }

    /// <summary>Gets the reason why the library was not loaded.</summary>
    public required string Reason { get; init; }
}
