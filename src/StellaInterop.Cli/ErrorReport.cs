using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli;

/// <summary>An error that this program itself finds.</summary>
internal sealed class CliException(ExitCode exitCode, string message, Exception? innerException = null)
    : Exception(Printable.Line(message), innerException)
{
    public ExitCode ExitCode { get; } = exitCode;
}

/// <summary>Errors on standard error: one line, then a line for each cause.</summary>
internal static class ErrorReport
{
    /// <summary>Writes an error and returns the exit code that goes with it.</summary>
    /// <param name="error">The error that ended the command.</param>
    /// <param name="stop">Why the command was stopped before, if it was.</param>
    /// <param name="verbose">Whether to write stack traces too.</param>
    public static ExitCode Write(Exception error, StopReason stop, bool verbose)
    {
        // A reader that has seen enough, as `head` does, and Ctrl+C are no errors.
        if (error is BrokenPipeException || (stop == StopReason.ReaderLeft && IsCancellation(error)))
        {
            return ExitCode.ReaderLeft;
        }

        if (stop != StopReason.None && error is OperationCanceledException)
        {
            return CommandStop.ExitCodeOf(stop);
        }

        Write(error.Message);
        for (Exception? cause = error.InnerException; cause is not (null or OperationCanceledException); cause = cause.InnerException)
        {
            Output.Note($"caused by: {OneLine(cause.Message)}");
        }

        if (verbose)
        {
            Console.Error.WriteLine(error);
        }

        return stop != StopReason.None && IsCancellation(error) ? CommandStop.ExitCodeOf(stop) : ExitCodeOf(error);
    }

    public static void Write(string message) => Output.Note($"error: {OneLine(message)}");

    private static ExitCode ExitCodeOf(Exception error) => error switch
    {
        CliException own => own.ExitCode,
        StellaOptionException or ArgumentException => ExitCode.Usage,
        StellaModelFolderException or StellaTokenizerException => ExitCode.ModelRefused,
        StellaInputException => ExitCode.BadInput,
        _ => ExitCode.Other,
    };

    private static bool IsCancellation(Exception error) => (error as OperationCanceledException ?? error.InnerException) is OperationCanceledException;

    private static string OneLine(string text) => text.ReplaceLineEndings(" ").Trim();
}
