using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;

namespace StellaInterop.Load.Overload;

/// <summary>Prints checks and the machine.</summary>
internal static class CheckTable
{
    public static void Write(IReadOnlyList<Check> checks, TextWriter output)
    {
        var table = new MarkdownTable("check", "measured", "limit", "result");
        foreach (Check check in checks)
        {
            table.Add(check.Name, check.Measured, check.Limit, check.Limit == "-" ? "-" : check.Holds ? "holds" : "FAILS");
        }

        table.Write(output);
    }

    /// <summary>Prints the machine and its load. Figures of a busy machine are no figures of the server.</summary>
    public static void WriteMachine(TextWriter output)
    {
        MachineInfo machine = MachineInfo.Read();
        string load = File.Exists("/proc/loadavg") ? $", load average {File.ReadAllText("/proc/loadavg").Split(' ')[0]}" : "";
        output.WriteLine($"{machine.Cpu} ({string.Join(", ", machine.Instructions)}), {machine.Processors} processors");
        output.WriteLine($"{machine.System}, {machine.Runtime}, {DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC{load}");
        output.WriteLine();
    }
}
