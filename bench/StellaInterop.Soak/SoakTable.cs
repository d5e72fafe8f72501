using System.Globalization;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Soak.Calls;

namespace StellaInterop.Soak;

/// <summary>Prints the results of scenarios.</summary>
internal static class SoakTable
{
    public static void Write(IReadOnlyList<ScenarioResult> results, double? othersShare, TextWriter output)
    {
        MachineInfo machine = MachineInfo.Read();
        string others = othersShare is { } share ? $"; other processes took {share * 100:F0} % of the machine" : "";
        output.WriteLine($"{machine.Cpu} ({string.Join(", ", machine.Instructions)}), {machine.Processors} processors");
        output.WriteLine($"{machine.System}, {machine.Runtime}, {DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC{others}");
        output.WriteLine();
        var table = new MarkdownTable(
            "scenario", "s", "calls", "completed", "rejected", "cancelled", "timed out", "failed", "texts", "wrong", "tokens/s",
            "queue ms p50", "p99", "forward ms p50", "p99", "refusal ms p99", "single ms p99", "memory MB/min", "promises");
        foreach (ScenarioResult result in results)
        {
            CallLedger ledger = result.Ledger;
            table.Add(
                result.Scenario.Name,
                Number(result.Seconds, "F0"),
                Number(ledger.Submitted, "F0"),
                Outcome("completed"),
                Outcome("rejected"),
                Outcome("cancelled"),
                Outcome("timed_out"),
                Outcome("failed"),
                Number(ledger.Texts, "F0"),
                Number(ledger.WrongVectors, "F0"),
                Number(result.TokensPerSecond, "F0"),
                Milliseconds(ledger.QueueTimes, 0.5),
                Milliseconds(ledger.QueueTimes, 0.99),
                Milliseconds(ledger.ForwardTimes, 0.5),
                Milliseconds(ledger.ForwardTimes, 0.99),
                Milliseconds(ledger.Rejections, 0.99),
                Milliseconds(ledger.Singles, 0.99),
                result.Growth is { } growth ? Number(growth.PerMinute / 1e6, "F2") : "-",
                result.Broken.Count == 0 ? "kept" : "BROKEN");

            string Outcome(string name) => Number(ledger.CallerOutcomes.GetValueOrDefault(name), "F0");
        }

        table.Write(output);
        output.WriteLine();
        var promises = new MarkdownTable("scenario", "promise", "kept", "measured");
        foreach (ScenarioResult result in results)
        {
            promises.Add(
                result.Scenario.Name,
                result.Scenario.Promise,
                result.Broken.Count == 0 ? "yes" : "NO",
                result.Figures.Count == 0 ? "-" : string.Join("; ", result.Figures));
        }

        promises.Write(output);
        foreach (ScenarioResult result in results)
        {
            foreach (string broken in result.Broken)
            {
                output.WriteLine();
                output.WriteLine($"{result.Scenario.Name}: {broken}");
            }
        }
    }

    /// <summary>Returns a line of CSV for every memory sample, with sizes in bytes.</summary>
    public static IEnumerable<string> Samples(IReadOnlyList<ScenarioResult> results) =>
    [
        "scenario,seconds,managed,malloc,native,mapped,resident",
        .. results.SelectMany(result => result.Samples.Select(sample => string.Create(
            CultureInfo.InvariantCulture,
            $"{result.Scenario.Name},{sample.Seconds:F2},{sample.Managed},{sample.Malloc},{sample.Native},{sample.Mapped},{sample.Resident}"))),
    ];

    private static string Number(double number, string format) => number.ToString(format, CultureInfo.InvariantCulture);

    private static string Milliseconds(DurationHistogram times, double fraction) =>
        times.Count == 0 ? "-" : Number(times.Percentile(fraction) * 1000, "F2");
}
