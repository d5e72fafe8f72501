using System.Globalization;

namespace StellaInterop.Bench.Measuring;

/// <summary>Measures the load of other processes since its creation, so that figures from a busy machine are marked as such.</summary>
internal sealed class MachineLoad
{
    private const string Source = "/proc/stat";
    private const double TicksPerSecond = 100;

    private readonly double busyAtStart;
    private readonly double allAtStart;
    private readonly TimeSpan ownAtStart = Environment.CpuUsage.TotalTime;

    public MachineLoad() => (busyAtStart, allAtStart) = Read();

    /// <summary>Returns the share of the machine, 0 to 1, that other processes took; null if the system does not report it.</summary>
    public double? OthersShare()
    {
        var (busy, all) = Read();
        double own = (Environment.CpuUsage.TotalTime - ownAtStart).TotalSeconds;
        return all > allAtStart ? Math.Max(0, (busy - busyAtStart - own) / (all - allAtStart)) : null;
    }

    /// <summary>Reads the busy and the total seconds of all processors together.</summary>
    private static (double Busy, double All) Read()
    {
        if (!File.Exists(Source))
        {
            return (0, 0);
        }

        // "cpu  user nice system idle iowait irq softirq steal guest guest_nice"; the last two are part of the first two.
        double[] ticks =
        [
            .. File.ReadLines(Source).First().Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .Skip(1).Take(8).Select(field => double.Parse(field, CultureInfo.InvariantCulture)),
        ];
        double all = ticks.Sum();
        return ((all - ticks[3] - ticks[4]) / TicksPerSecond, all / TicksPerSecond);
    }
}
