namespace StellaInterop;

/// <summary>The base of every error of this library.</summary>
/// <remarks>
/// Causes that native code reports are in <see cref="Exception.InnerException"/>, each in the one before it. Messages may hold
/// text out of files: control characters in it are escaped, so that a message is safe for a terminal and a log.
/// </remarks>
public class StellaException : Exception
{
    /// <summary>Makes an error.</summary>
    /// <param name="code">What went wrong.</param>
    /// <param name="message">A sentence that names the fault, its place and the remedy. Control characters in it are escaped.</param>
    /// <param name="innerException">The cause.</param>
    public StellaException(StellaErrorCode code, string message, Exception? innerException = null)
        : base(Printable.Line(message ?? ""), innerException) => Code = code;

    /// <summary>Makes an error whose message has several lines.</summary>
    private protected StellaException(StellaErrorCode code, IEnumerable<string> lines, Exception? innerException)
        : base(string.Join('\n', lines.Select(Printable.Line)), innerException) => Code = code;

    /// <summary>What went wrong, as a number that never changes its meaning.</summary>
    public StellaErrorCode Code { get; }
}

/// <summary>An option that the model or this build cannot meet: a dimension, a precision, a limit.</summary>
public sealed class StellaOptionException : StellaException
{
    internal StellaOptionException(StellaErrorCode code, string message, Exception? innerException = null)
        : base(code, message, innerException)
    {
    }
}

/// <summary>A model folder that cannot be loaded. The message names the file.</summary>
public sealed class StellaModelFolderException : StellaException
{
    internal StellaModelFolderException(StellaErrorCode code, string message, Exception? innerException = null)
        : base(code, message, innerException)
    {
    }
}

/// <summary>A <c>tokenizer.json</c> that cannot be used.</summary>
public sealed class StellaTokenizerException : StellaException
{
    internal StellaTokenizerException(StellaErrorCode code, string message, Exception? innerException = null)
        : base(code, message, innerException)
    {
    }
}

/// <summary>The system refused a thread that the library needs. The error describes one moment: threads that end later are available later.</summary>
public sealed class StellaThreadException : StellaException
{
    internal StellaThreadException(string message, Exception? innerException = null)
        : base(StellaErrorCode.ThreadRefused, message, innerException)
    {
    }
}

/// <summary>A text that cannot be embedded.</summary>
public sealed class StellaInputException : StellaException
{
    internal StellaInputException(StellaErrorCode code, string message, int textIndex, Exception? innerException = null)
        : base(code, message, innerException) => TextIndex = textIndex;

    /// <summary>Index of the text in the list that was passed.</summary>
    public int TextIndex { get; }
}

/// <summary>A native library that speaks another version of the ABI than this assembly.</summary>
public sealed class StellaAbiMismatchException : StellaException
{
    internal StellaAbiMismatchException(string message)
        : base(StellaErrorCode.AbiMismatch, message)
    {
    }
}

/// <summary>The native library was not found or could not be loaded.</summary>
public sealed class StellaNativeLibraryNotFoundException : StellaException
{
    internal StellaNativeLibraryNotFoundException(
        string message, IReadOnlyList<StellaLoadAttempt> attempts, Exception? innerException)
        : base(
            StellaErrorCode.NativeLibraryNotFound,
            [message, "Tried:", .. attempts.Select(attempt => $"  {attempt.Path}: {attempt.Reason}")],
            innerException) => Attempts = attempts;

    /// <summary>Every path that was tried, in order, and why it did not serve.</summary>
    public IReadOnlyList<StellaLoadAttempt> Attempts { get; }
}

/// <summary>Represents a path at which the native library was searched.</summary>
public sealed record StellaLoadAttempt
{
    internal StellaLoadAttempt()
    {
    }

    /// <summary>Gets the path.</summary>
    public required string Path { get; init; }

    /// <summary>Gets why the library was not loaded from it.</summary>
    public required string Reason { get; init; }
}
