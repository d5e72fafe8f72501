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
        if (!(OperatingSystem.IsWindows() ? WindowsHandle.TryGet(WindowsHandle.StandardInput, out _) : Posix.IsInherited(Input)))
        {
            throw new IOException("Standard input was closed before the command started.");
        }

        if (!OperatingSystem.IsWindows())
        {
            return new UnixInput(Input);
        }

        if (Console.IsInputRedirected)
        {
            return Console.OpenStandardInput();
        }

        // A console gives UTF-16, whatever its code page.
        Console.InputEncoding = Encoding.Unicode;
        return Encoding.CreateTranscodingStream(Console.OpenStandardInput(), Encoding.Unicode, Encoding.UTF8);
    }

    /// <summary>Opens standard output. A write throws if the reader is gone or the bytes cannot be written.</summary>
    public static Stream OpenOutput() => OperatingSystem.IsWindows()
        ? OpenOnWindows(WindowsHandle.StandardOutput, Console.IsOutputRedirected, Console.OpenStandardOutput, raw => new ResultStream(raw))
        : new ResultStream(OpenOnUnix(Output));

    /// <summary>Opens standard error. A failed write is ignored.</summary>
    public static Stream OpenError() => OperatingSystem.IsWindows()
        ? OpenOnWindows(WindowsHandle.StandardError, Console.IsErrorRedirected, Console.OpenStandardError, raw => new MessageStream(raw))
        : new MessageStream(OpenOnUnix(Error));

    /// <summary>Creates a text writer that flushes after every write.</summary>
    /// <remarks>
    /// The encoding of .NET on Windows would be the code page of the console, even for a file. Most code pages lack most characters.
    /// </remarks>
    public static TextWriter CreateTextWriter(Stream stream) =>
        new StreamWriter(stream, OperatingSystem.IsWindows() ? new UTF8Encoding(encoderShouldEmitUTF8Identifier: false) : Console.OutputEncoding) { AutoFlush = true };

    /// <summary>Waits until the reader of standard output leaves.</summary>
    /// <returns><see langword="false"/> if the system cannot detect it. The next write then fails.</returns>
    public static bool WaitForReaderToLeave() =>
        !OperatingSystem.IsWindows() && Posix.IsInherited(Output) && Posix.WaitForReaderToLeave(Output);

    private static OutputStream OpenOnUnix(int descriptor) =>
        Posix.IsInherited(descriptor) ? new UnixOutput(descriptor) : new ClosedOutput();

    /// <summary>Opens a handle of Windows, which takes UTF-8.</summary>
    private static Stream OpenOnWindows(int handle, bool isRedirected, Func<Stream> openConsole, Func<OutputStream, Stream> wrap)
    {
        if (isRedirected)
        {
            return wrap(WindowsOutput.Open(handle));
        }

        // A console takes UTF-16, whatever its code page. With this encoding .NET leaves the code page as it is.
        Console.OutputEncoding = Encoding.Unicode;
        return Encoding.CreateTranscodingStream(openConsole(), Encoding.Unicode, Encoding.UTF8);
    }
}
