using StellaInterop.Bench.Measuring;
using StellaInterop.Interop;

namespace StellaInterop.Soak;

/// <summary>What the process holds that a pool must give back.</summary>
/// <param name="LiveBytes">Bytes of the native library.</param>
/// <param name="Handles">Its live handles.</param>
/// <param name="Anonymous">Anonymous memory of the process.</param>
internal readonly record struct Holdings(long LiveBytes, int Handles, long Anonymous)
{
    public static Holdings Now() => new(
        (long)NativeMethods.stella_counter((uint)NativeCounter.LiveBytes),
        Enum.GetValues<NativeHandleKind>().Sum(kind => (int)NativeMethods.stella_live_handles((uint)kind)),
        ResidentMemory.Measure().Anonymous);
}
