using System.Runtime.InteropServices;

namespace StellaInterop.Cli.Streams;

/// <summary>Writes as many of the first bytes as the handle accepts, like <c>WriteFile</c>.</summary>
/// <returns>Whether the call succeeded; if not, <paramref name="error"/> is the error code of the system.</returns>
internal delegate bool WindowsWrite(ReadOnlySpan<byte> buffer, out int written, out int error);

/// <summary>
/// Writes to a standard handle of Windows that is a file or a pipe. Each byte is written once, even if the pipe is non-blocking.
/// </summary>
internal sealed partial class WindowsOutput(WindowsWrite write) : OutputStream
{
    private const int BrokenPipe = 109;
    private const int NoData = 232;
    private const int PipeNotConnected = 233;

    /// <summary>Opens a standard handle.</summary>
    public static OutputStream Open(int standardHandle) =>
        WindowsHandle.TryGet(standardHandle, out nint handle)
            ? new WindowsOutput((buffer, out written, out error) => Write(handle, buffer, out written, out error))
            : new ClosedOutput();

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            if (!write(buffer, out int written, out int error))
            {
                throw error is BrokenPipe or NoData or PipeNotConnected
                    ? new BrokenPipeException()
                    : new IOException(Marshal.GetPInvokeErrorMessage(error).TrimEnd('.'));
            }

            if (written == 0)
            {
                // The pipe is non-blocking and full, and Windows offers no way to wait for room in it.
                Thread.Sleep(1);
            }

            buffer = buffer[written..];
        }
    }

    private static unsafe bool Write(nint handle, ReadOnlySpan<byte> buffer, out int written, out int error)
    {
        uint count;
        bool isWritten;
        fixed (byte* start = buffer)
        {
            isWritten = WriteFile(handle, start, (uint)buffer.Length, out count, overlapped: 0);
        }

        error = isWritten ? 0 : Marshal.GetLastPInvokeError();
        written = (int)count;
        return isWritten;
    }

    [LibraryImport("kernel32.dll", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static unsafe partial bool WriteFile(nint handle, byte* buffer, uint count, out uint written, nint overlapped);
}
