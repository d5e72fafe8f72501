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
    /// <summary>Writes an error and gives the exit code that goes with it.</summary>
    public static ExitCode Write(Exception error, bool verbose)
    {
        if (error is BrokenPipeException)
        {
            // The reader of standard output has seen enough, as `head` does. That is no error.
            return ExitCode.Good;
        }

        Write(error.Message);
        for (Exception? cause = error.InnerException; cause is not null; cause = cause.InnerException)
        {
            Output.Note($"caused by: {OneLine(cause.Message)}");
        }

        if (verbose)
        {
            Console.Error.WriteLine(error);
        }

        return ExitCodeOf(error);
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

    private static string OneLine(string text) => text.ReplaceLineEndings(" ").Trim();
}
