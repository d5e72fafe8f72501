using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace StellaInterop.Bulk.Files;

/// <summary>Provides the system calls of Linux and macOS that .NET does not have.</summary>
internal static partial class Posix
{
    private const int ReadOnly = 0;
    private const int NotPermitted = 1;
    private const int FileExists = 17;

    private static int NonBlocking => OperatingSystem.IsMacOS() ? 0x4 : 0x800;

    /// <summary>The number of EOPNOTSUPP.</summary>
    private static int NotSupported => OperatingSystem.IsMacOS() ? 102 : 95;

    private static int CloseOnExec => OperatingSystem.IsMacOS() ? 0x1000000 : 0x80000;

    /// <summary>Opens a file for reading. Unlike <see cref="File.OpenHandle"/>, it does not wait for the writer of a FIFO.</summary>
    /// <exception cref="IOException">The system refused it; <see cref="Exception.HResult"/> is its error number.</exception>
    public static FileStream OpenRead(string path)
    {
#pragma warning disable CA2000 // The stream disposes the handle.
        return new FileStream(OpenHandle(path), FileAccess.Read, bufferSize: 0);
#pragma warning restore CA2000
    }

    /// <summary>Gives a file a second name, unless the name is taken. The system decides it in one step, also between machines.</summary>
    /// <returns><see langword="false"/> if the name is taken.</returns>
    /// <exception cref="IOException">The system refused it.</exception>
    public static bool TryLink(string path, string name)
    {
        if (Link(path, name) == 0)
        {
            return true;
        }

        return Marshal.GetLastPInvokeError() == FileExists ? false : throw LastError(name);
    }

    /// <summary>Returns whether an error of <see cref="TryLink"/> is that of a file system without links.</summary>
    public static bool HasNoLinks(IOException error) => error.HResult == NotPermitted || error.HResult == NotSupported;

    /// <summary>Waits until the names in a folder are on the disk.</summary>
    /// <exception cref="IOException">The system refused it.</exception>
    public static void FlushFolder(string path)
    {
        using SafeFileHandle folder = OpenHandle(path);
        if (Flush(folder) != 0)
        {
            throw LastError(path);
        }
    }

    private static SafeFileHandle OpenHandle(string path)
    {
        int descriptor = Open(path, ReadOnly | NonBlocking | CloseOnExec);
        return descriptor >= 0 ? new SafeFileHandle(descriptor, ownsHandle: true) : throw LastError(path);
    }

    private static IOException LastError(string path)
    {
        int error = Marshal.GetLastPInvokeError();
        return new IOException($"{path}: {Marshal.GetPInvokeErrorMessage(error)}", error);
    }

    /// <remarks>The system's function has a variable third argument, which is read only when a file is created.</remarks>
    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Link(string path, string name);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Flush(SafeFileHandle descriptor);
}
