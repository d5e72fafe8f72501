using System.Globalization;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Load.Overload;

/// <summary>One line of the verdict.</summary>
/// <param name="Name">The name, which a control expects to fail.</param>
/// <param name="Measured">The figure.</param>
/// <param name="Limit">The limit; a dash for a figure that is only reported.</param>
/// <param name="Holds">Whether the figure is within its limit.</param>
internal sealed record Check(string Name, string Measured, string Limit, bool Holds);

/// <summary>Decides whether a server kept its promises under overload.</summary>
internal static class Verdict
{
    public const string Offered = "offered load, relative to the capacity";
    public const string Answered = "requests without an answer";
    public const string Kept = "answers that are neither vectors nor a refusal with its error and both retry headers";
    public const string Refused = "refusals";
    public const string RefusalTime = "p99 of refusals, by the server's clock";
    public const string ClientRefusalTime = "p99 of refusals, by the clients' clock";
    public const string Memory = "growth of resident memory in the second half";
    public const string Interactive = "median of the interactive key's single texts";
    public const string InteractiveKept = "interactive requests that were not answered with their vector";
    public const string Exit = "exit code after SIGTERM";

    private const double OfferedLimit = 10;
    private const double RefusalLimit = 20;
    private const double GrowthLimit = 0.05;
    private const double InteractiveFactor = 3;

    /// <summary>Fewer refusals than this say nothing about the slowest percent.</summary>
    private const int MinRefusals = 200;

    public static IReadOnlyList<Check> Of(OverloadRecord record)
    {
        double offered = record.OfferedPerSecond / record.CapacityPerSecond;
        Outcome[] refusals = [.. record.Bulk.Where(outcome => outcome.IsRefusal)];
        int unanswered = record.Bulk.Concat(record.Interactive).Count(outcome => outcome.Status == 0);
        int broken = record.Bulk.Count(outcome => outcome.Status != 0 && !outcome.IsKept);
        double server = Statistics.Percentile([.. refusals.Select(outcome => outcome.RefusalMilliseconds!.Value)], 0.99);
        double client = Statistics.Percentile([.. refusals.Select(outcome => outcome.Milliseconds)], 0.99);
        double growth = Growth(record.ResidentBytes);
        double idle = Median(record.Idle);
        double loaded = Median(record.Interactive);
        double limit = (InteractiveFactor * idle) + record.BatchMilliseconds;
        int lost = record.Interactive.Count(outcome => outcome is not { Status: Outcome.Ok, IsComplete: true });
        return
        [
            new(Offered, Text($"{offered:F1} x {record.CapacityPerSecond:F1}/s"), Text($">= {OfferedLimit} x"), offered >= OfferedLimit),
            new(Answered, Text($"{unanswered} of {record.Bulk.Count + record.Interactive.Count}"), "0", unanswered == 0),
            new(Kept, Text($"{broken}"), "0", broken == 0),
            new(Refused, Text($"{refusals.Length} of {record.Bulk.Count}"), Text($">= {MinRefusals}"), refusals.Length >= MinRefusals),
            new(RefusalTime, Milliseconds(server), $"<= {Milliseconds(RefusalLimit)}", server <= RefusalLimit),
            new(ClientRefusalTime, Milliseconds(client), "-", true),
            new(Memory, Text($"{growth * 100:F1} % of {record.ResidentBytes.DefaultIfEmpty(0).Max() / 1e6:F0} MB"), Text($"<= {GrowthLimit * 100:F0} %"), growth <= GrowthLimit),
            new(Interactive, Milliseconds(loaded), $"<= {Milliseconds(limit)} (3 x {Milliseconds(idle)} + a batch of {Milliseconds(record.BatchMilliseconds)})", loaded <= limit),
            new(InteractiveKept, Text($"{lost} of {record.Interactive.Count}"), "0 of 10 or more", lost == 0 && record.Interactive.Count >= 10),
            new(Exit, Text($"{record.ExitCode}"), "0", record.ExitCode == 0),
        ];
    }

    /// <summary>
    /// Returns the growth of memory from the first to the last fifth of the second half, relative to the first of them. A mean of a fifth
    /// does not depend on the moment of a garbage collection.
    /// </summary>
    public static double Growth(IReadOnlyList<long> samples)
    {
        int half = samples.Count / 2;
        int fifth = (samples.Count - half) / 5;
        if (fifth == 0)
        {
            // Too few samples are no proof.
            return double.NaN;
        }

        double before = samples.Skip(half).Take(fifth).Average();
        return (samples.TakeLast(fifth).Average() - before) / before;
    }

    private static double Median(IReadOnlyList<Outcome> outcomes) => Statistics.Percentile([.. outcomes.Select(outcome => outcome.Milliseconds)], 0.5);

    private static string Milliseconds(double number) => Text($"{number:F1} ms");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
