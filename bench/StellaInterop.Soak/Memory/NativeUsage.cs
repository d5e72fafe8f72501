using StellaInterop.Interop;

namespace StellaInterop.Soak.Memory;

/// <summary>The memory and handles of the native library. A pool must free all of its share.</summary>
/// <param name="LiveBytes">Live bytes of the native library.</param>
/// <param name="Handles">Live handles of the native library.</param>
internal readonly record struct NativeUsage(long LiveBytes, int Handles)
{
    public static NativeUsage Read() => new(
        (long)NativeMethods.stella_counter((uint)NativeCounter.LiveBytes),
        Enum.GetValues<NativeHandleKind>().Sum(kind => (int)NativeMethods.stella_live_handles((uint)kind)));
}
