using System.Globalization;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Chaos.Machine;

/// <summary>A small file system for the output, in memory, which a ballast file can fill.</summary>
internal sealed class SmallDisk : IAsyncDisposable
{
    private const int Megabytes = 192;
    private const int BlockBytes = 1 << 20;

    /// <summary>The begin of the name of the device, before the id of the process.</summary>
    private const string DevicePrefix = "stella-chaos-";

    private const int UnmountAttempts = 20;

    private static readonly TimeSpan FillInterval = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan UnmountPause = TimeSpan.FromMilliseconds(100);

    private readonly string path;

    private SmallDisk(string path) => this.path = path;

    /// <summary>Mounts the file system.</summary>
    /// <returns><see langword="null"/> if this process may not, which needs root.</returns>
    public static async Task<SmallDisk?> TryMountAsync(string path)
    {
        await RemoveLeftoversAsync().ConfigureAwait(false);
        string device = string.Create(CultureInfo.InvariantCulture, $"{DevicePrefix}{Environment.ProcessId}");
        string size = string.Create(CultureInfo.InvariantCulture, $"size={Megabytes}m");
        return await Shell.TryAsync("mount", "-t", "tmpfs", "-o", size, device, path).ConfigureAwait(false) ? new SmallDisk(path) : null;
    }

    /// <summary>Keeps the disk full for a time. Space that is freed meanwhile is filled as well.</summary>
    public async Task FillAsync(TimeSpan time, CancellationToken cancellationToken)
    {
        string ballast = Path.Combine(path, "ballast");
        byte[] block = new byte[BlockBytes];
        // Without a buffer, a write that fails leaves nothing behind that a close would write.
        using var file = new FileStream(ballast, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        // The file has no name, so that it is gone when this process is.
        File.Delete(ballast);
        long end = Environment.TickCount64 + (long)time.TotalMilliseconds;
        while (Environment.TickCount64 < end)
        {
            FillUp(file, block);
            await Task.Delay(FillInterval, cancellationToken).ConfigureAwait(false);
        }
    }

    public async ValueTask DisposeAsync()
    {
        // A process that was killed keeps its files open for a moment.
        for (int attempt = 0; attempt < UnmountAttempts; attempt++)
        {
            if (await Shell.TryAsync("umount", path).ConfigureAwait(false))
            {
                return;
            }

            await Task.Delay(UnmountPause).ConfigureAwait(false);
        }

        if (!await Shell.TryAsync("umount", "--lazy", path).ConfigureAwait(false))
        {
            Progress.Log($"Could not unmount {path}. Unmount it by hand.");
        }
    }

    /// <summary>Removes the file systems of runs that were killed.</summary>
    private static async Task RemoveLeftoversAsync()
    {
        // Each line has the device and the folder first.
        IEnumerable<string[]> mounts = (await File.ReadAllLinesAsync("/proc/mounts").ConfigureAwait(false)).Select(line => line.Split(' '));
        foreach (string[] mount in mounts.Where(mount => mount[0].StartsWith(DevicePrefix, StringComparison.Ordinal)))
        {
            if (!Directory.Exists($"/proc/{mount[0][DevicePrefix.Length..]}"))
            {
                _ = await Shell.TryAsync("umount", "--lazy", mount[1]).ConfigureAwait(false);
            }
        }
    }

    private static void FillUp(FileStream file, byte[] block)
    {
        // Halves down to a page, the unit of the file system.
        for (int length = block.Length; length >= Environment.SystemPageSize;)
        {
            try
            {
                file.Write(block, 0, length);
            }
            catch (IOException)
            {
                length /= 2;
            }
        }
    }
}
