using System.Globalization;
using StellaInterop.Bench.Measuring;
using StellaInterop.Interop;

namespace StellaInterop.Soak.Memory;

/// <summary>The memory of the process at a moment between two calls.</summary>
/// <param name="Seconds">Time since the scenario began.</param>
/// <param name="Managed">Bytes of live managed objects.</param>
/// <param name="Malloc">Bytes of live <c>malloc</c> blocks of all components.</param>
/// <param name="Native">Bytes that the native library reports: blocks and mappings.</param>
/// <param name="Mapped">Bytes of all other writable private mappings, such as thread stacks.</param>
/// <param name="Resident">Resident anonymous memory, after free blocks were returned to the system.</param>
internal readonly record struct MemorySample(double Seconds, long Managed, long Malloc, long Native, long Mapped, long Resident)
{
    private const string Status = "/proc/self/status";
    private const string Field = "VmData:";

    /// <summary>Collects garbage, trims the C library's heap, and measures.</summary>
    public static MemorySample Take(double seconds)
    {
        // Finalizers run between two collections, so that memory that they free does not count.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        NativeHeap.Trim();
        GCMemoryInfo heap = GC.GetGCMemoryInfo(GCKind.Any);
        (long live, long mapped) = NativeHeap.Read();
        long native = (long)NativeMethods.stella_counter((uint)NativeCounter.LiveBytes);
        return new MemorySample(
            seconds,
            heap.HeapSizeBytes - heap.FragmentedBytes,
            live,
            native,
            WritableBytes() - heap.TotalCommittedBytes - mapped - native,
            ResidentMemory.Now().Anonymous);
    }

    /// <summary>Returns the bytes of all writable private mappings; 0 if the system does not report them.</summary>
    private static long WritableBytes()
    {
        // "VmData:	  424548 kB"
        string? line = File.Exists(Status)
            ? File.ReadLines(Status).FirstOrDefault(line => line.StartsWith(Field, StringComparison.Ordinal))
            : null;
        return line is null ? 0 : long.Parse(line.AsSpan(Field.Length, line.Length - Field.Length - 2).Trim(), CultureInfo.InvariantCulture) << 10;
    }
}
