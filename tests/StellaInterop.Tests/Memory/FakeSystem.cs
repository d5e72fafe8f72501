using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests.Memory;

/// <summary>A clock that advances only on request.</summary>
internal sealed class ManualClock : TimeProvider
{
    private long ticks = 1;

    /// <summary>Runs before each timestamp, on the thread that reads it.</summary>
    public Action OnTimestamp { get; set; } = static () => { };

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp()
    {
        OnTimestamp();
        return Interlocked.Read(ref ticks);
    }

    public void Advance(TimeSpan span) => Interlocked.Add(ref ticks, span.Ticks);
}

/// <summary>
/// A folder with the <c>/proc</c> and cgroup files in which a Linux system reports memory. Initially the machine has 16000 MiB, of which
/// 12000 MiB are available; the process uses 1000 MiB and is in no cgroup.
/// </summary>
internal sealed class FakeSystem : IDisposable
{
    public const long MiB = 1 << 20;

    private readonly TemporaryFolder folder = new();

    public FakeSystem()
    {
        SetMachine(total: 16_000, available: 12_000);
        SetProcess(1000);
    }

    public ManualClock Time { get; } = new();

    /// <summary>Options without headroom, so that the limits are exactly those in the files.</summary>
    public StellaMemoryGovernorOptions Options => new()
    {
        CgroupRoot = PathOf("cgroup"),
        ProcRoot = PathOf("proc"),
        HeadroomBytes = 0,
        HeadroomFraction = 0,
        TimeProvider = Time,
    };

    public string PathOf(string name) => folder.File(name);

    public void Write(string name, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(PathOf(name))!);
        File.WriteAllText(PathOf(name), text);
    }

    public void Delete(string name) => File.Delete(PathOf(name));

    public void SetMachine(long total, long available) => Write(
        "proc/meminfo", $"MemTotal:       {total * 1024} kB\nMemFree:        5 kB\nMemAvailable:   {available * 1024} kB\n");

    /// <summary>Sets the anonymous memory of the process, in MiB. Its 7000 MiB of mapped files do not count as used.</summary>
    public void SetProcess(long anonymous) => Write(
        "proc/self/status", $"Name:\tx\nVmRSS:\t{(anonymous + 7000) * 1024} kB\nRssAnon:\t{anonymous * 1024} kB\nRssFile:\t7168000 kB\n");

    public void Dispose() => folder.Dispose();
}
