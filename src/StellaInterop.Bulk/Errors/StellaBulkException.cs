namespace StellaInterop.Bulk;

/// <summary>Specifies why a bulk job ended. A number never changes its meaning.</summary>
public enum StellaBulkErrorCode
{
    /// <summary>No error.</summary>
    None = 0,

    /// <summary>The inputs name no file that can be read: nothing matches, or the format of a file is not known.</summary>
    NoInput = 1,

    /// <summary>An input file cannot be opened or read, is damaged, or lacks a column.</summary>
    InputUnreadable = 2,

    /// <summary>An input file is not the file that was planned.</summary>
    InputChanged = 3,

    /// <summary>The output folder belongs to a job with other settings. The message lists the differences.</summary>
    SettingsDiffer = 4,

    /// <summary>The output folder holds files that are not of a bulk job, or cannot hold one.</summary>
    OutputRefused = 5,

    /// <summary>A file in the output folder is damaged, or no bulk job wrote it.</summary>
    OutputDamaged = 6,

    /// <summary>The disk of the output folder is full.</summary>
    OutputFull = 7,

    /// <summary>The output folder could not be read or written.</summary>
    OutputFailed = 8,

    /// <summary>More rows failed than <see cref="StellaBulkOptions.MaxErrors"/>.</summary>
    TooManyErrors = 9,
}

/// <summary>
/// Represents the error that ended a bulk job. Committed parts stay, and the same job continues when it is run again after the remedy.
/// </summary>
public sealed class StellaBulkException : Exception
{
    /// <summary>Initializes an error.</summary>
    /// <param name="code">The kind of the error.</param>
    /// <param name="message">The message: the fault and the remedy. Control characters, line breaks included, are escaped.</param>
    /// <param name="innerException">The cause; <see langword="null"/> without one.</param>
    public StellaBulkException(StellaBulkErrorCode code, string message, Exception? innerException = null)
        : base(Printable.Line(message ?? ""), innerException) => Code = code;

    /// <summary>Gets the kind of the error.</summary>
    public StellaBulkErrorCode Code { get; }
}
