using System.Globalization;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Memory;
using StellaInterop.Soak.Scenarios;
using StellaInterop.Soak.Scripts;

namespace StellaInterop.Soak;

/// <summary>Runs a scenario and checks the promises of the pool.</summary>
internal sealed class ScenarioRun(string folder, StellaModelOptions modelOptions, KnownTexts known, int seed)
{
    /// <summary>Bytes that may remain in the native library, whose tables grow a little with new texts. A leak is larger.</summary>
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

    public static double Percentile(IReadOnlyList<double> samples, double fraction)
    {
        if (samples.Count == 0)
        {
            return 0;
        }

        double[] sorted = [.. samples.Order()];
        return sorted[(int)Math.Min(sorted.Length - 1, fraction * sorted.Length)];
    }

    private static void Check(ScenarioContext context, CallLedger ledger)
    {
        long answered = ledger.CallerOutcomes.Values.Sum();
        context.Promise(answered == ledger.Submitted, $"{ledger.Submitted} calls have {answered} answers. Every call must have one.");

        // The meter distinguishes calls that a draining pool refused from calls that it ended; callers cannot. So only completed calls and
        // totals are compared.
        long completed = Of(ledger.CallerOutcomes, Outcomes.Completed);
        bool agree = context.HasStreams
            ? Of(ledger.MeterOutcomes, Outcomes.Completed) >= completed && ledger.MeterOutcomes.Values.Sum() >= answered
            : Of(ledger.MeterOutcomes, Outcomes.Completed) == completed && ledger.MeterOutcomes.Values.Sum() == answered;
        context.Promise(agree, $"Callers saw {Text(ledger.CallerOutcomes)}, but the meter counted {Text(ledger.MeterOutcomes)}.");
        context.Promise(Of(ledger.CallerOutcomes, Outcomes.Unknown) == 0 && ledger.FirstError is null, $"An unexpected error was raised: {ledger.FirstError}");
        context.Promise(ledger.Unserved == 0, $"{ledger.Unserved} calls that had to complete did not. The first: {ledger.FirstUnserved}");
        context.Promise(ledger.WrongVectors == 0, $"{ledger.WrongVectors} of {ledger.Texts} vectors are wrong.");
        context.Promise(completed > 0, "No call was completed.");

        // In some seconds, other processes slow the machine down. The median of all seconds is not affected.
        ledger.Close();
        double rejection = Percentile(ledger.RejectionsBySecond, 0.5);
        context.Promise(
            rejection < RejectionLimit.TotalSeconds || !context.MeasuresTimes,
            $"A refusal takes {rejection * 1000:F1} ms (99th percentile of a second, median of the seconds). The limit is {RejectionLimit.TotalMilliseconds} ms.");
    }

    private static MemoryGrowth? CheckMemory(ScenarioContext context, NativeUsage before)
    {
        NativeUsage after = NativeUsage.Read();
        context.Promise(after.Handles == before.Handles, $"{after.Handles - before.Handles} native handles were not freed.");
        context.Promise(after.LiveBytes - before.LiveBytes <= LiveSlack, $"{after.LiveBytes - before.LiveBytes} native bytes were not freed. The limit is {LiveSlack}.");
        MemoryGrowth? growth = context.Memory.Fastest();
        context.Promise(
            growth is not { IsLeak: true },
            string.Create(CultureInfo.InvariantCulture, $"Memory leaks: {growth?.Kind} grow by {growth?.PerMinute / 1e6:F1} MB a minute until the end."));
        return growth;
    }

    private static long Of(Dictionary<string, long> counts, string outcome) => counts.GetValueOrDefault(outcome);

    private static string Text(Dictionary<string, long> counts) =>
        string.Join(", ", counts.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Value} {pair.Key}"));
}
