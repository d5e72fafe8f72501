using System.Globalization;

namespace StellaInterop.Bench.Measuring;

/// <summary>The resident memory of this process.</summary>
/// <param name="Anonymous">Bytes of anonymous memory.</param>
/// <param name="Mapped">Bytes of mapped files. The system can evict them.</param>
internal readonly record struct ResidentMemory(long Anonymous, long Mapped)
{
    private const string Status = "/proc/self/status";

    /// <summary>Collects garbage, then reads the resident memory. Returns zero if the system does not report it.</summary>
    public static ResidentMemory Measure()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        return Now();
    }

    /// <summary>Reads the resident memory without a garbage collection.</summary>
    public static ResidentMemory Now()
    {
        return File.Exists(Status) ? new ResidentMemory(Read("RssAnon:"), Read("RssFile:")) : default;
    }

    public static ResidentMemory operator -(ResidentMemory after, ResidentMemory before) =>
        new(after.Anonymous - before.Anonymous, after.Mapped - before.Mapped);

    private static long Read(string field)
    {
        // "RssAnon:	  424548 kB"
        string line = File.ReadLines(Status).First(line => line.StartsWith(field, StringComparison.Ordinal));
        return long.Parse(line.AsSpan(field.Length, line.Length - field.Length - 2), NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture) << 10;
    }
}
