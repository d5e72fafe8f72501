using System.Text;

namespace StellaInterop.Cli.Streams;

/// <summary>Opens standard input, output and error of the process.</summary>
/// <remarks>Only this file distinguishes the platforms. The streams behave the same on all of them.</remarks>
internal static class StandardStreams
{
#pragma warning disable CA2000 // The streams do not own their descriptors, so there is nothing to dispose.
    private const int Input = 0;
    private const int Output = 1;
    private const int Error = 2;

    /// <summary>Opens standard input.</summary>
    /// <exception cref="IOException">Standard input was closed before the process started.</exception>
    public static Stream OpenInput()
    {
        if (OperatingSystem.IsWindows())
        {
            return Console.OpenStandardInput();
        }

        return Posix.IsInherited(Input) ? new UnixInput(Input) : throw new IOException("Standard input was closed before the command started.");
    }

    /// <summary>Opens standard output. A write throws if the reader is gone or the bytes cannot be written.</summary>
    public static Stream OpenOutput() => OperatingSystem.IsWindows()
        ? OpenOnWindows(WindowsOutput.StandardOutput, Console.IsOutputRedirected, Console.OpenStandardOutput, raw => new ResultStream(raw))
        : new ResultStream(OpenOnUnix(Output));

    /// <summary>Opens standard error. A failed write is ignored.</summary>
    public static Stream OpenError() => OperatingSystem.IsWindows()
        ? OpenOnWindows(WindowsOutput.StandardError, Console.IsErrorRedirected, Console.OpenStandardError, raw => new MessageStream(raw))
        : new MessageStream(OpenOnUnix(Error));

    /// <summary>Creates a text writer that flushes after every write.</summary>
    public static TextWriter CreateTextWriter(Stream stream) => new StreamWriter(stream, Console.OutputEncoding) { AutoFlush = true };

    /// <summary>Waits until the reader of standard output leaves.</summary>
    /// <returns><see langword="false"/> if the system cannot detect it. The next write then fails.</returns>
    public static bool WaitForReaderToLeave() =>
        !OperatingSystem.IsWindows() && Posix.IsInherited(Output) && Posix.WaitForReaderToLeave(Output);

    private static OutputStream OpenOnUnix(int descriptor) =>
        Posix.IsInherited(descriptor) ? new UnixOutput(descriptor) : new ClosedOutput();

    /// <summary>Opens a handle of Windows. For a console, which needs UTF-16, the stream of .NET is used.</summary>
    private static Stream OpenOnWindows(int handle, bool isRedirected, Func<Stream> openConsole, Func<OutputStream, Stream> wrap) =>
        isRedirected ? wrap(WindowsOutput.Open(handle)) : openConsole();
}
