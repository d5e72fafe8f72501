using System.Runtime.InteropServices;

namespace StellaInterop.Soak.Memory;

/// <summary>Allocates memory at a steady rate, like a leak. Dispose frees it.</summary>
internal sealed partial class Leak : IDisposable
{
    private const int PageBytes = 4096;
    private const int ReadWrite = 1 | 2;
    private const int PrivateAnonymous = 2 | 0x20;

    /// <summary>Bytes of a <c>malloc</c> block and of a managed array: a typical size of a small object.</summary>
    private const int BlockBytes = 2048;

    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(20);

    private readonly PlantedLeak planted;
    private readonly List<byte[]> arrays = [];
    private readonly List<nint> blocks = [];
    private readonly List<nint> pages = [];
    private readonly CancellationTokenSource stop = new();
    private readonly Task growing;

    public Leak(PlantedLeak planted, TimeSpan duration)
    {
        this.planted = planted;
        growing = Task.Run(() => GrowAsync(duration * planted.Until));
    }

    public void Dispose()
    {
        stop.Cancel();
        growing.GetAwaiter().GetResult();
        arrays.Clear();
        blocks.ForEach(Marshal.FreeHGlobal);
        pages.ForEach(page => _ = munmap(page, PageBytes));
        stop.Dispose();
    }

    private async Task GrowAsync(TimeSpan duration)
    {
        long begin = TimeProvider.System.GetTimestamp();
        long taken = 0;
        while (!stop.IsCancellationRequested && TimeProvider.System.GetElapsedTime(begin) < duration)
        {
            double due = planted.BytesPerMinute * TimeProvider.System.GetElapsedTime(begin).TotalMinutes;
            while (taken < due)
            {
                taken += Take();
            }

            await Task.Delay(Step).ConfigureAwait(false);
        }
    }

    private int Take()
    {
        switch (planted.Kind)
        {
            case LeakKind.Managed:
                arrays.Add(new byte[BlockBytes]);
                return BlockBytes;
            case LeakKind.Malloc:
                nint block = Marshal.AllocHGlobal(BlockBytes);
                Marshal.WriteByte(block, 1);
                blocks.Add(block);
                return BlockBytes;
            default:
                nint page = mmap(0, PageBytes, ReadWrite, PrivateAnonymous, -1, 0);
                Marshal.WriteByte(page, 1);
                pages.Add(page);
                return PageBytes;
        }
    }

    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    [LibraryImport("libc")]
    private static partial nint mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    [LibraryImport("libc")]
    private static partial int munmap(nint address, nuint length);
}
