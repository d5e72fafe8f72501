using System.ComponentModel;
using System.Runtime.InteropServices;

namespace StellaInterop.Bulk.Files;

/// <summary>Provides the system calls of Windows that .NET does not have.</summary>
internal static partial class WindowsFiles
{
    private const uint ReplaceExisting = 0x1;
    private const uint WriteThrough = 0x8;
    private const int FileExists = 80;
    private const int AlreadyExists = 183;

    /// <summary>Renames a file, unless the name is taken, and waits until the name is on the disk.</summary>
    /// <returns><see langword="false"/> if the name is taken.</returns>
    /// <exception cref="IOException">The system refused it.</exception>
    public static bool TryMove(string path, string name) => BusyFile.Retry(() => TryMove(path, name, WriteThrough));

    /// <summary>Renames a file, takes the place of a file with the name, and waits until the name is on the disk.</summary>
    /// <exception cref="IOException">The system refused it.</exception>
    public static void Replace(string path, string name) => _ = BusyFile.Retry(() => TryMove(path, name, WriteThrough | ReplaceExisting));

    private static bool TryMove(string path, string name, uint flags)
    {
        if (MoveFileEx(path, name, flags))
        {
            return true;
        }

        int error = Marshal.GetLastPInvokeError();
        return error is FileExists or AlreadyExists
            ? false
            : throw new IOException($"{name}: {new Win32Exception(error).Message}", BusyFile.WindowsError | error);
    }

    [LibraryImport("kernel32.dll", EntryPoint = "MoveFileExW", SetLastError = true, StringMarshalling = StringMarshalling.Utf16)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool MoveFileEx(string path, string name, uint flags);
}
