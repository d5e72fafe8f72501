using System.Globalization;

namespace StellaInterop.Bench.Measuring;

/// <summary>What this process holds in memory.</summary>
/// <param name="Anonymous">Bytes of its own.</param>
/// <param name="Mapped">Bytes of files that are mapped; the system can take them back.</param>
internal readonly record struct ResidentMemory(long Anonymous, long Mapped)
{
    private const string Status = "/proc/self/status";

    /// <summary>What is held now, once the collector has given back what it can. Zero where the system does not tell.</summary>
    public static ResidentMemory Measure()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        return Now();
    }

    /// <summary>What is held now, with what the collector has not given back.</summary>
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
