using System.Globalization;
using StellaInterop.Soak.Memory;
using StellaInterop.Soak.Scripts;

namespace StellaInterop.Soak;

/// <summary>The outcome of a scenario.</summary>
/// <param name="Scenario">The scenario.</param>
/// <param name="Seconds">Its length.</param>
/// <param name="Books">Its calls.</param>
/// <param name="Growth">The kind of memory that grew fastest; <see langword="null"/> for too few samples.</param>
/// <param name="Samples">Its memory.</param>
/// <param name="Figures">Measured figures, for people.</param>
/// <param name="Broken">Promises that were broken.</param>
internal sealed record ScenarioResult(
    Scenario Scenario,
    double Seconds,
    Books Books,
    MemoryGrowth? Growth,
    IReadOnlyList<MemorySample> Samples,
    IReadOnlyList<string> Figures,
    IReadOnlyList<string> Broken)
{
    public double TokensPerSecond => Books.Tokens / Seconds;
}

/// <summary>Runs a scenario and holds the pool to its promises.</summary>
internal sealed class ScenarioRun(string folder, StellaModelOptions modelOptions, KnownTexts known, int seed)
{
    /// <summary>The library's tables grow a little with the texts that they see; a leak is larger.</summary>
    private const long LiveSlack = 256 << 10;

    private static readonly TimeSpan RejectionLimit = TimeSpan.FromMilliseconds(5);

    public async Task<ScenarioResult> RunAsync(Scenario scenario, TimeSpan duration, Defect? defect = null)
    {
        Holdings before = Holdings.Now();
        using var books = new Books();
        var stage = new Stage(folder, modelOptions, known, books, duration, seed, defect ?? Defect.None);
        using (stage.Defect.Leak is { } leak ? new Leak(leak, duration) : null)
        {
            await (scenario.Script?.Invoke() ?? new CallerStorm(scenario)).RunAsync(stage).ConfigureAwait(false);
            double seconds = stage.Clock.Elapsed.TotalSeconds;
            Check(stage, books);
            MemoryGrowth? growth = CheckMemory(stage, before);
            stage.FreeLeaked();
            return new ScenarioResult(scenario, seconds, books, growth, stage.Memory.Samples, stage.Figures, stage.Broken);
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

    private static void Check(Stage stage, Books books)
    {
        long answered = books.Seen.Values.Sum();
        stage.Promise(answered == books.Submitted, $"{books.Submitted} calls, {answered} answers");

        // Calls that a draining pool refused, and calls that it ended, differ in the meter alone.
        long completed = Of(books.Seen, Outcomes.Completed);
        bool agree = stage.HasStreams
            ? Of(books.Counted, Outcomes.Completed) >= completed && books.Counted.Values.Sum() >= answered
            : Of(books.Counted, Outcomes.Completed) == completed && books.Counted.Values.Sum() == answered;
        stage.Promise(agree, $"callers saw {Text(books.Seen)}, the meter counted {Text(books.Counted)}");
        stage.Promise(Of(books.Seen, Outcomes.Unknown) == 0 && books.FirstError is null, $"an error that nobody made: {books.FirstError}");
        stage.Promise(books.Unkept == 0, $"{books.Unkept} calls of honest callers were not answered with their vectors: {books.FirstUnkept}");
        stage.Promise(books.WrongVectors == 0, $"{books.WrongVectors} of {books.Texts} vectors are wrong");
        stage.Promise(completed > 0, "no call was completed");

        // A second in which the machine did something else says nothing about the pool: the median of the seconds counts.
        books.Close();
        double rejection = Percentile(books.RejectionsBySecond, 0.5);
        stage.Promise(
            rejection < RejectionLimit.TotalSeconds || !stage.MeasuresTimes,
            $"a refusal takes {rejection * 1000:F1} ms (99th percentile of a second, median of the seconds)");
    }

    private static MemoryGrowth? CheckMemory(Stage stage, Holdings before)
    {
        Holdings after = Holdings.Now();
        stage.Promise(after.Handles == before.Handles, $"{after.Handles - before.Handles} native handles are left");
        stage.Promise(after.LiveBytes - before.LiveBytes <= LiveSlack, $"{after.LiveBytes - before.LiveBytes} native bytes are left");
        MemoryGrowth? growth = stage.Memory.Fastest();
        stage.Promise(
            growth is not { IsLeak: true },
            string.Create(CultureInfo.InvariantCulture, $"memory leaks: {growth?.Kind} grow by {growth?.PerMinute / 1e6:F1} MB a minute to the end"));
        return growth;
    }

    private static long Of(Dictionary<string, long> counts, string outcome) => counts.GetValueOrDefault(outcome);

    private static string Text(Dictionary<string, long> counts) =>
        string.Join(", ", counts.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Value} {pair.Key}"));
}
