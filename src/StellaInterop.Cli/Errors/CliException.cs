namespace StellaInterop.Cli.Errors;

/// <summary>Represents an error that the command line itself detects.</summary>
internal sealed class CliException(ExitCode exitCode, string message, Exception? innerException = null)
    : Exception(Printable.Line(message), innerException)
{
    public ExitCode ExitCode { get; } = exitCode;
}
