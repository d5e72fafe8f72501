using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli.Terminal;

/// <summary>Writes errors to standard error: one line for the error, then one line for each cause.</summary>
internal static class ErrorReport
{
    /// <summary>Writes an error and returns its exit code.</summary>
    /// <param name="error">The error that ended the command.</param>
    /// <param name="stop">The reason for which the command was stopped before the error, if there is one.</param>
    /// <param name="verbosity">The verbosity; <see cref="Verbosity.Debug"/> adds stack traces.</param>
    public static ExitCode Write(Exception error, StopReason stop, Verbosity verbosity)
    {
        // Ctrl+C is not an error, and neither is a reader such as `head` that has read enough.
        if (error is BrokenPipeException || (stop == StopReason.ReaderLeft && IsCancellation(error)))
        {
            return ExitCode.ReaderLeft;
        }

        if (stop != StopReason.None && error is OperationCanceledException)
        {
            return CommandStop.GetExitCode(stop);
        }

        Write(error.Message);
        for (Exception? cause = error.InnerException; cause is not (null or OperationCanceledException); cause = cause.InnerException)
        {
            ConsoleOutput.WriteMessage($"caused by: {OneLine(cause.Message)}");
        }

        if (verbosity == Verbosity.Debug)
        {
            Console.Error.WriteLine(error);
        }

        return stop != StopReason.None && IsCancellation(error) ? CommandStop.GetExitCode(stop) : GetExitCode(error);
    }

    public static void Write(string message) => ConsoleOutput.WriteMessage($"error: {OneLine(message)}");

    private static ExitCode GetExitCode(Exception error) => error switch
    {
        CliException cli => cli.ExitCode,
        StellaOptionException or ArgumentException => ExitCode.Usage,
        StellaModelFolderException or StellaTokenizerException => ExitCode.ModelRefused,
        StellaInputException => ExitCode.BadInput,
        _ => ExitCode.Other,
    };

    private static bool IsCancellation(Exception error) => (error as OperationCanceledException ?? error.InnerException) is OperationCanceledException;

    private static string OneLine(string text) => text.ReplaceLineEndings(" ").Trim();
}
