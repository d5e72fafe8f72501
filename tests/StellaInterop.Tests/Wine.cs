using System.Runtime.InteropServices;

namespace StellaInterop.Tests;

/// <summary>Wine, which runs the tests for Windows on Linux.</summary>
internal static class Wine
{
    /// <summary>Whether this program runs under Wine, whose <c>ntdll.dll</c> has this export.</summary>
    public static bool IsPresent { get; } =
        OperatingSystem.IsWindows() && NativeLibrary.TryGetExport(NativeLibrary.Load("ntdll.dll"), "wine_get_version", out _);
}
