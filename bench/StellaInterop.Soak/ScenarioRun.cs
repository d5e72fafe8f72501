using System.Globalization;
using StellaInterop.Soak.Memory;
using StellaInterop.Soak.Scripts;

namespace StellaInterop.Soak;

/// <summary>The outcome of a scenario.</summary>
/// <param name="Scenario">The scenario.</param>
/// <param name="Seconds">Its length.</param>
/// <param name="CallLedger">Its calls.</param>
/// <param name="Growth">The kind of memory that grew fastest; <see langword="null"/> for too few samples.</param>
/// <param name="Samples">Its memory.</param>
/// <param name="Figures">Measured figures, for people.</param>
/// <param name="Broken">Promises that were broken.</param>
internal sealed record ScenarioResult(
    Scenario Scenario,
    double Seconds,
    CallLedger CallLedger,
    MemoryGrowth? Growth,
    IReadOnlyList<MemorySample> Samples,
    IReadOnlyList<string> Figures,
    IReadOnlyList<string> Broken)
{
    public double TokensPerSecond => CallLedger.Tokens / Seconds;
}

/// <summary>Runs a scenario and holds the pool to its promises.</summary>
internal sealed class ScenarioRun(string folder, StellaModelOptions modelOptions, KnownTexts known, int seed)
{
    /// <summary>The library's tables grow a little with the texts that they see; a leak is larger.</summary>
    private const long LiveSlack = 256 << 10;

    private static readonly TimeSpan RejectionLimit = TimeSpan.FromMilliseconds(5);

    public async Task<ScenarioResult> RunAsync(Scenario scenario, TimeSpan duration, Defect? defect = null)
    {
        NativeUsage before = NativeUsage.Read();
        using var ledger = new CallLedger();
        var context = new ScenarioContext(folder, modelOptions, known, ledger, duration, seed, defect ?? Defect.None);
        using (context.Defect.Leak is { } leak ? new Leak(leak, duration) : null)
        {
            await (scenario.Script?.Invoke() ?? new CallerStorm(scenario)).RunAsync(context).ConfigureAwait(false);
            double seconds = context.Clock.Elapsed.TotalSeconds;
            Check(context, ledger);
            MemoryGrowth? growth = CheckMemory(context, before);
            context.FreeLeaked();
            return new ScenarioResult(scenario, seconds, ledger, growth, context.Memory.Samples, context.Figures, context.Broken);
        }
    }

    public static double Percentile(IReadOnlyList<double> samples, double part)
    {
        if (samples.Count == 0)
        {
            return 0;
        }

        double[] sorted = [.. samples.Order()];
        return sorted[(int)Math.Min(sorted.Length - 1, part * sorted.Length)];
    }

    private static void Check(ScenarioContext context, CallLedger ledger)
    {
        long answered = ledger.Seen.Values.Sum();
        context.Promise(answered == ledger.Submitted, $"{ledger.Submitted} calls, {answered} answers");

        // Calls that a draining pool refused, and calls that it ended, differ in the meter alone.
        long completed = Of(ledger.Seen, Outcomes.Completed);
        bool agree = context.HasStreams
            ? Of(ledger.Counted, Outcomes.Completed) >= completed && ledger.Counted.Values.Sum() >= answered
            : Of(ledger.Counted, Outcomes.Completed) == completed && ledger.Counted.Values.Sum() == answered;
        context.Promise(agree, $"callers saw {Text(ledger.Seen)}, the meter counted {Text(ledger.Counted)}");
        context.Promise(Of(ledger.Seen, Outcomes.Unknown) == 0 && ledger.FirstError is null, $"an error that nobody made: {ledger.FirstError}");
        context.Promise(ledger.Unserved == 0, $"{ledger.Unserved} calls of honest callers were not answered with their vectors: {ledger.FirstUnserved}");
        context.Promise(ledger.WrongVectors == 0, $"{ledger.WrongVectors} of {ledger.Texts} vectors are wrong");
        context.Promise(completed > 0, "no call was completed");

        // A second in which the machine did something else says nothing about the pool: the median of the seconds counts.
        ledger.Close();
        double rejection = Percentile(ledger.RejectionsBySecond, 0.5);
        context.Promise(
            rejection < RejectionLimit.TotalSeconds || !context.MeasuresTimes,
            $"a refusal takes {rejection * 1000:F1} ms (99th percentile of a second, median of the seconds)");
    }

    private static MemoryGrowth? CheckMemory(ScenarioContext context, NativeUsage before)
    {
        NativeUsage after = NativeUsage.Read();
        context.Promise(after.Handles == before.Handles, $"{after.Handles - before.Handles} native handles are left");
        context.Promise(after.LiveBytes - before.LiveBytes <= LiveSlack, $"{after.LiveBytes - before.LiveBytes} native bytes are left");
        MemoryGrowth? growth = context.Memory.Fastest();
        context.Promise(
            growth is not { IsLeak: true },
            string.Create(CultureInfo.InvariantCulture, $"memory leaks: {growth?.Kind} grow by {growth?.PerMinute / 1e6:F1} MB a minute to the end"));
        return growth;
    }

    private static long Of(Dictionary<string, long> counts, string outcome) => counts.GetValueOrDefault(outcome);

    private static string Text(Dictionary<string, long> counts) =>
        string.Join(", ", counts.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Value} {pair.Key}"));
}
