using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace StellaInterop.Tests;

/// <summary>Provides operations on the console of another process on Windows.</summary>
[SupportedOSPlatform("windows")]
internal static partial class WindowsConsole
{
    private const uint CtrlC = 0;
    private const uint EveryProcess = 0;

    /// <summary>Sends Ctrl+C to a process that has a console of its own, and waits for its end.</summary>
    public static void Interrupt(Process process, TimeSpan timeout)
    {
        // A process has at most one console. Without one, the call fails and changes nothing.
        FreeConsole();
        Check(AttachConsole((uint)process.Id));
        try
        {
            // The tests are in the same console now, and ignore Ctrl+C.
            Check(SetControlHandler(handler: 0, add: true));
            Check(GenerateControlEvent(CtrlC, EveryProcess));
            Assert.That(process.WaitForExit(timeout));
        }
        finally
        {
            FreeConsole();
            SetControlHandler(handler: 0, add: false);
        }
    }

    private static void Check(bool isDone)
    {
        if (!isDone)
        {
            throw new Win32Exception();
        }
    }

    [LibraryImport("kernel32.dll", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool AttachConsole(uint processId);

    [LibraryImport("kernel32.dll", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool FreeConsole();

    [LibraryImport("kernel32.dll", EntryPoint = "SetConsoleCtrlHandler", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool SetControlHandler(nint handler, [MarshalAs(UnmanagedType.Bool)] bool add);

    [LibraryImport("kernel32.dll", EntryPoint = "GenerateConsoleCtrlEvent", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool GenerateControlEvent(uint controlEvent, uint group);
}
