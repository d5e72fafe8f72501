using System.Runtime.InteropServices;

namespace StellaInterop.Cli.Streams;

/// <summary>Provides the standard handles of Windows.</summary>
internal static partial class WindowsHandle
{
    public const int StandardInput = -10;
    public const int StandardOutput = -11;
    public const int StandardError = -12;

    /// <summary>Returns whether a standard handle was open when the process started, and the handle.</summary>
    public static bool TryGet(int standardHandle, out nint handle)
    {
        handle = GetStandardHandle(standardHandle);
        return handle is not (0 or -1);
    }

    [LibraryImport("kernel32.dll", EntryPoint = "GetStdHandle", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial nint GetStandardHandle(int which);
}
