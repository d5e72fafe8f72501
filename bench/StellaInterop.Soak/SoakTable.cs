using System.Globalization;
using StellaInterop.Bench.Reporting;

namespace StellaInterop.Soak;

/// <summary>What scenarios came to, for people.</summary>
internal static class SoakTable
{
    public static void Write(IReadOnlyList<ScenarioResult> results, double? othersShare, TextWriter output)
    {
        MachineInfo machine = MachineInfo.Read();
        string others = othersShare is { } share ? $"; other processes took {share * 100:F0} % of the machine meanwhile" : "";
        output.WriteLine($"{machine.Cpu} ({string.Join(", ", machine.Instructions)}), {machine.Processors} processors");
        output.WriteLine($"{machine.System}, {machine.Runtime}, {DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC{others}");
        output.WriteLine();
        var table = new MarkdownTable(
            "scenario", "s", "calls", "completed", "rejected", "cancelled", "timed out", "failed", "texts", "wrong", "tokens/s",
            "queue ms p50", "p99", "forward ms p50", "p99", "refusal ms p99", "single ms p99", "memory", "promises");
        foreach (ScenarioResult result in results)
        {
            Books books = result.Books;
            table.Add(
                result.Scenario.Name,
                Number(result.Seconds, "F0"),
                Number(books.Submitted, "F0"),
                Outcome("completed"),
                Outcome("rejected"),
                Outcome("cancelled"),
                Outcome("timed_out"),
                Outcome("failed"),
                Number(books.Texts, "F0"),
                Number(books.WrongVectors, "F0"),
                Number(result.TokensPerSecond, "F0"),
                Milliseconds(books.QueueTimes, 0.5),
                Milliseconds(books.QueueTimes, 0.99),
                Milliseconds(books.ForwardTimes, 0.5),
                Milliseconds(books.ForwardTimes, 0.99),
                Milliseconds(books.Rejections, 0.99),
                Milliseconds(books.Singles, 0.99),
                $"{(result.Growth - 1) * 100:+0.0;-0.0;0.0} %",
                result.Broken.Count == 0 ? "kept" : "BROKEN");

            string Outcome(string name) => Number(books.Seen.GetValueOrDefault(name), "F0");
        }

        table.Write(output);
        foreach (ScenarioResult result in results)
        {
            foreach (string broken in result.Broken)
            {
                output.WriteLine();
                output.WriteLine($"{result.Scenario.Name}: {broken}");
            }
        }
    }

    private static string Number(double number, string format) => number.ToString(format, CultureInfo.InvariantCulture);

    private static string Milliseconds(Times times, double part) =>
        times.Count == 0 ? "-" : Number(times.Percentile(part) * 1000, "F2");
}
