using StellaInterop.Interop;

namespace StellaInterop.Soak;

/// <summary>Everything of the native library that a pool must free.</summary>
/// <param name="LiveBytes">Bytes of the native library.</param>
/// <param name="Handles">Its live handles.</param>
internal readonly record struct NativeUsage(long LiveBytes, int Handles)
{
    public static NativeUsage Now() => new(
        (long)NativeMethods.stella_counter((uint)NativeCounter.LiveBytes),
        Enum.GetValues<NativeHandleKind>().Sum(kind => (int)NativeMethods.stella_live_handles((uint)kind)));
}
