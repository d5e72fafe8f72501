using System.Runtime.InteropServices;

namespace StellaInterop.Cli.Streams;

/// <summary>Writes to a standard handle of Windows that is a file or a pipe.</summary>
internal sealed partial class WindowsOutput(nint handle) : OutputStream
{
    public const int StandardOutput = -11;
    public const int StandardError = -12;

    private const int BrokenPipe = 109;
    private const int NoData = 232;
    private const int PipeNotConnected = 233;

    /// <summary>Opens a standard handle.</summary>
    public static OutputStream Open(int standardHandle) =>
        GetStandardHandle(standardHandle) is not (0 or -1) and var handle ? new WindowsOutput(handle) : new ClosedOutput();

    public override unsafe void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            uint written;
            fixed (byte* start = buffer)
            {
                if (!WriteFile(handle, start, (uint)buffer.Length, out written, overlapped: 0))
                {
                    int error = Marshal.GetLastPInvokeError();
                    throw error is BrokenPipe or NoData or PipeNotConnected
                        ? new BrokenPipeException()
                        : new IOException(Marshal.GetPInvokeErrorMessage(error).TrimEnd('.'));
                }
            }

            buffer = buffer[(int)written..];
        }
    }

    [LibraryImport("kernel32.dll", EntryPoint = "GetStdHandle", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial nint GetStandardHandle(int which);

    [LibraryImport("kernel32.dll", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static unsafe partial bool WriteFile(nint handle, byte* buffer, uint count, out uint written, nint overlapped);
}
