using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests.Memory;

/// <summary>A clock that stands still until it is told to go on.</summary>
internal sealed class ManualTime : TimeProvider
{
    private long ticks = 1;

    /// <summary>Called for each timestamp, on the thread that asks.</summary>
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
/// The files in which a Linux system tells about memory, in a folder. It starts as a machine of 16000 MiB of which
/// 12000 MiB are available, with a process that uses 1000 MiB, in no control group.
/// </summary>
internal sealed class FakeSystem : IDisposable
{
    public const long MiB = 1 << 20;

    private readonly TemporaryFolder folder = new();

    public FakeSystem()
    {
        Machine(total: 16_000, available: 12_000);
        Process(1000);
    }

    public ManualTime Time { get; } = new();

    /// <summary>Without headroom, so that the numbers of a test are those of its files.</summary>
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

    public void Machine(long total, long available) => Write(
        "proc/meminfo", $"MemTotal:       {total * 1024} kB\nMemFree:        5 kB\nMemAvailable:   {available * 1024} kB\n");

    /// <summary>Files that are mapped are not the process's own, however large.</summary>
    public void Process(long anonymous) => Write(
        "proc/self/status", $"Name:\tx\nVmRSS:\t{(anonymous + 7000) * 1024} kB\nRssAnon:\t{anonymous * 1024} kB\nRssFile:\t7168000 kB\n");

    public void Dispose() => folder.Dispose();
}
