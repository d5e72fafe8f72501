using System.Runtime.InteropServices;

namespace StellaInterop.Cli.Streams;

/// <summary>Provides functions of the C library for Linux and macOS: system calls on file descriptors, and the environment.</summary>
/// <remarks>
/// The streams of .NET are not suitable. Console streams ignore EPIPE. FileStream writes a regular file by <c>pwrite</c>, which
/// does not move the position that other processes share, and it loses bytes if a non-blocking pipe is full.
/// </remarks>
internal static partial class Posix
{
    public const int InterruptedCall = 4;
    public const int BadDescriptor = 9;
    public const int BrokenPipe = 32;

    private const int GetDescriptorFlags = 1;
    private const int CloseOnExec = 1;
    private const short ReadReady = 0x1;
    private const short WriteReady = 0x4;
    private const short Failed = 0x8;
    private const short HungUp = 0x10;

    /// <summary>Gets the number of EAGAIN, which equals EWOULDBLOCK.</summary>
    public static int WouldBlock { get; } = OperatingSystem.IsLinux() ? 11 : 35;

    public static unsafe int Read(int descriptor, Span<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            return (int)Read(descriptor, start, (nuint)buffer.Length);
        }
    }

    public static unsafe int Write(int descriptor, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            return (int)Write(descriptor, start, (nuint)bytes.Length);
        }
    }

    /// <summary>Waits until a read would not block.</summary>
    public static void WaitToRead(int descriptor) => Wait(descriptor, ReadReady);

    /// <summary>Waits until a write would not block.</summary>
    public static void WaitToWrite(int descriptor) => Wait(descriptor, WriteReady);

    /// <summary>Waits until the reader of a pipe, a socket or a terminal leaves. The method never returns for a file.</summary>
    /// <returns><see langword="false"/> if the system cannot detect it.</returns>
    public static bool WaitForReaderToLeave(int descriptor) => (Wait(descriptor, 0) & (Failed | HungUp)) != 0;

    /// <summary>Returns whether the descriptor was open when the process started.</summary>
    /// <remarks>
    /// If the descriptor was closed, the runtime has reused its number for a file or a pipe. The runtime opens its descriptors with
    /// FD_CLOEXEC, and a descriptor with this flag does not survive exec.
    /// </remarks>
    public static bool IsInherited(int descriptor) =>
        GetFlags(descriptor, GetDescriptorFlags) is >= 0 and var flags && (flags & CloseOnExec) == 0;

    /// <summary>Sets a variable for native code. <see cref="Environment"/> changes only a copy of the environment.</summary>
    /// <remarks>No other thread may read the environment by the C library at the same time.</remarks>
    public static void SetVariable(string name, string value) => _ = SetVariable(name, value, overwrite: 1);

    private static short Wait(int descriptor, short events)
    {
        while (true)
        {
            var request = new PollRequest { Descriptor = descriptor, Events = events };
            if (Poll(ref request, 1, timeoutMilliseconds: -1) >= 0)
            {
                return request.Returned;
            }

            if (Marshal.GetLastPInvokeError() != InterruptedCall)
            {
                return 0;
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static unsafe partial nint Read(int descriptor, byte* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static unsafe partial nint Write(int descriptor, byte* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Poll(ref PollRequest request, nuint count, int timeoutMilliseconds);

    /// <summary>Calls <c>fcntl</c> with a command that takes no further argument.</summary>
    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int GetFlags(int descriptor, int command);

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SetVariable(string name, string value, int overwrite);

    [StructLayout(LayoutKind.Sequential)]
    private struct PollRequest
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }
}
