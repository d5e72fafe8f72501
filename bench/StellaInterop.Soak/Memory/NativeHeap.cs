using System.Runtime.InteropServices;

namespace StellaInterop.Soak.Memory;

/// <summary>Reads and trims the heap of glibc. Other C libraries have neither function, so that reading returns zero.</summary>
internal static partial class NativeHeap
{
    /// <summary>Returns the bytes of live blocks, and the bytes that the heap has mapped for live and free blocks.</summary>
    public static (long Live, long Mapped) Read()
    {
        try
        {
            Statistics now = mallinfo2();
            return ((long)(now.UsedBytes + now.MappedBytes), (long)(now.ArenaBytes + now.MappedBytes));
        }
        catch (Exception e) when (e is EntryPointNotFoundException or DllNotFoundException)
        {
            return default;
        }
    }

    /// <summary>Returns the pages of free blocks to the system.</summary>
    public static void Trim()
    {
        try
        {
            _ = malloc_trim(0);
        }
        catch (Exception e) when (e is EntryPointNotFoundException or DllNotFoundException)
        {
        }
    }

    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    [LibraryImport("libc")]
    private static partial Statistics mallinfo2();

    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    [LibraryImport("libc")]
    private static partial int malloc_trim(nuint pad);

    /// <summary>The fields of <c>struct mallinfo2</c>, summed over all arenas.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly struct Statistics
    {
        public readonly nuint ArenaBytes;
        public readonly nuint FreeBlocks;
        public readonly nuint FastBlocks;
        public readonly nuint MappedBlocks;
        public readonly nuint MappedBytes;
        public readonly nuint MostBytes;
        public readonly nuint FastBytes;
        public readonly nuint UsedBytes;
        public readonly nuint FreeBytes;
        public readonly nuint TopBytes;
    }
}
