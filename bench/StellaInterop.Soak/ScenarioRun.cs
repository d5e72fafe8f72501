using System.Diagnostics;
using StellaInterop.Bench.Measuring;
using StellaInterop.Pooling;

namespace StellaInterop.Soak;

/// <summary>What a scenario came to.</summary>
/// <param name="Scenario">What was done.</param>
/// <param name="Seconds">For how long.</param>
/// <param name="Books">What came of it.</param>
/// <param name="Growth">Anonymous memory in the last quarter, over that in the second.</param>
/// <param name="Broken">Promises that were not kept.</param>
internal sealed record ScenarioResult(Scenario Scenario, double Seconds, Books Books, double Growth, IReadOnlyList<string> Broken)
{
    public double TokensPerSecond => Books.Tokens / Seconds;
}

/// <summary>Runs a scenario and holds the pool to its promises.</summary>
internal sealed class ScenarioRun(string folder, StellaModelOptions modelOptions, KnownTexts known, int seed)
{
    /// <summary>The library's tables grow a little with what they see; what leaks is more than this.</summary>
    private const long LiveSlack = 256 << 10;

    /// <summary>
    /// Anonymous memory may grow by this part from the second quarter to the last. In a short run the collector has not
    /// settled, and few looks have seen what is in flight.
    /// </summary>
    private const double MostGrowth = 1.02;
    private const long ShortRunSlack = 64 << 20;
    private static readonly TimeSpan ShortRun = TimeSpan.FromSeconds(30);

    /// <summary>What the process itself takes beside the model grows in the first seconds.</summary>
    private const long ProcessRoom = 24 << 20;

    private static readonly TimeSpan SampleEvery = TimeSpan.FromMilliseconds(250);

    /// <summary>Memory is looked at so often in a long run: each look collects garbage.</summary>
    private const int MemoryLooks = 100;

    /// <summary>Every call has a timeout that is shorter than this.</summary>
    private static readonly TimeSpan LostAfter = TimeSpan.FromMinutes(10);

    private static readonly TimeSpan RejectionLimit = TimeSpan.FromMilliseconds(5);

    public async Task<ScenarioResult> RunAsync(Scenario scenario, TimeSpan duration, Faults? defect = null)
    {
        Holdings before = Holdings.Now();
        using var books = new Books();
        var model = new FaultyModel(new StellaModelSource(folder, modelOptions), defect ?? scenario.Faults, seed);
        StellaPoolOptions options = Options(scenario, books, model);
        var broken = new List<string>();
        var pool = new StellaEmbeddingPool(model, options);
        var clock = Stopwatch.StartNew();
        var memory = new MemoryInTime(clock, duration);
        using (var stop = new CancellationTokenSource())
        {
            Task watching = WatchAsync(() => pool, options, broken, stop.Token);
            Task looking = Task.CompletedTask;
            List<Task> callers =
            [
                .. Enumerable.Range(0, scenario.Callers).Select(i =>
                    Task.Run(() => new Caller(scenario.Traffic, known, books, () => pool, seed + i).RunAsync(clock, duration))),
            ];
            if (scenario.BulkTexts > 0)
            {
                // The vectors of a large call are most of the memory while it runs, so its caller looks between two.
                var bulk = new Caller(scenario.Traffic, known, books, () => pool, seed - 1);
                callers.Add(Task.Run(() => bulk.RunBulkAsync(clock, duration, scenario.BulkTexts, memory.Look)));
            }
            else
            {
                looking = LookAsync(memory, duration, stop.Token);
            }

            while (scenario.RenewEvery > 0 && clock.Elapsed < duration - TimeSpan.FromSeconds(scenario.RenewEvery / 2))
            {
                await Task.Delay(TimeSpan.FromSeconds(scenario.RenewEvery), CancellationToken.None).ConfigureAwait(false);
                StellaEmbeddingPool old = pool;
                pool = new StellaEmbeddingPool(model, options);
                await old.DisposeAsync().ConfigureAwait(false);
            }

            await AllAsync(callers, books, broken).ConfigureAwait(false);
            await stop.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(watching, looking).ConfigureAwait(false);
        }

        double seconds = clock.Elapsed.TotalSeconds;
        await pool.DisposeAsync().ConfigureAwait(false);
        Check(scenario, books, broken);
        CheckMemory(before, memory, duration < ShortRun ? ShortRunSlack : 0, broken);
        return new ScenarioResult(scenario, seconds, books, memory.Growth, broken);
    }

    private static StellaPoolOptions Options(Scenario scenario, Books books, FaultyModel model)
    {
        var options = scenario.Pool(new StellaPoolOptions { MeterFactory = books, IdleTimeout = TimeSpan.FromSeconds(2) });
        if (!scenario.IsTight)
        {
            return options;
        }

        StellaMemoryEstimate estimate = model.Estimate(options.EffectiveThreads, options.EffectiveBatchTokens);
        long used = new StellaMemoryGovernor().GetStatus().MeasuredBytes;
        long room = estimate.WeightsBytes + estimate.TokenizerBytes + estimate.LoadingBytes + (3 * estimate.SessionBytes / 2);
        return options with
        {
            Governor = new StellaMemoryGovernor(new StellaMemoryGovernorOptions { LimitBytes = used + room + ProcessRoom }),
        };
    }

    /// <summary>Looks whether the queue keeps its limits.</summary>
    private static async Task WatchAsync(
        Func<StellaEmbeddingPool> pool,
        StellaPoolOptions options,
        List<string> broken,
        CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            StellaPoolHealth health = pool().GetHealth();
            if (health.QueuedTokens > options.EffectiveQueuedTokens || health.QueuedCalls > 2 * options.MaxQueuedCalls)
            {
                broken.Add($"the queue has {health.QueuedTokens} tokens and {health.QueuedCalls} calls");
            }

            await Task.Delay(SampleEvery, CancellationToken.None).ConfigureAwait(false);
        }
    }

    private static async Task LookAsync(MemoryInTime memory, TimeSpan duration, CancellationToken stop)
    {
        TimeSpan every = duration / MemoryLooks > SampleEvery ? duration / MemoryLooks : SampleEvery;
        while (!stop.IsCancellationRequested)
        {
            memory.Look();
            await Task.Delay(every, CancellationToken.None).ConfigureAwait(false);
        }
    }

    /// <summary>Waits for the callers; one whose call is lost would wait for ever.</summary>
    private static async Task AllAsync(List<Task> callers, Books books, List<string> broken)
    {
        try
        {
            await Task.WhenAll(callers).WaitAsync(LostAfter).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            broken.Add($"{books.Submitted - books.Seen.Values.Sum()} calls have no answer");
        }
    }

    private static void Check(Scenario scenario, Books books, List<string> broken)
    {
        long answered = books.Seen.Values.Sum();
        Promise(answered == books.Submitted, $"{books.Submitted} calls, {answered} answers");
        // Calls that a pool of a drain refused, and those that it ended, are told apart by the meter alone.
        Promise(
            Of(books.Counted, "completed") == Of(books.Seen, "completed") && books.Counted.Values.Sum() == answered,
            $"callers saw {Text(books.Seen)}, the meter counted {Text(books.Counted)}");
        Promise(Of(books.Seen, "unknown") == 0 && books.FirstError is null, $"an error that nobody made: {books.FirstError}");
        Promise(books.WrongVectors == 0, $"{books.WrongVectors} of {books.Texts} vectors are wrong");
        Promise(Of(books.Seen, "completed") > 0, "no call was completed");
        Promise(scenario.Faults.GuiltyOneIn == 0 || books.FailedTexts > 0, "no text failed although some were made to");

        // A second in which the machine did something else says nothing about the pool: the median of the seconds counts.
        books.Close();
        double rejection = Percentile(books.RejectionsBySecond, 0.5);
        Promise(
            rejection < RejectionLimit.TotalSeconds,
            $"a refusal takes {rejection * 1000:F1} ms (99th percentile of a second, median of the seconds)");

        void Promise(bool kept, string otherwise)
        {
            if (!kept)
            {
                broken.Add(otherwise);
            }
        }
    }

    private static void CheckMemory(Holdings before, MemoryInTime memory, long slack, List<string> broken)
    {
        Holdings after = Holdings.Now();
        if (after.Handles != before.Handles)
        {
            broken.Add($"{after.Handles - before.Handles} native handles are left");
        }

        if (after.LiveBytes - before.LiveBytes > LiveSlack)
        {
            broken.Add($"{after.LiveBytes - before.LiveBytes} native bytes are left");
        }

        if (memory.Growth > 1 && memory.End > (memory.Middle * MostGrowth) + slack)
        {
            broken.Add($"anonymous memory grew from {memory.Middle / 1e6:F1} to {memory.End / 1e6:F1} MB from the second quarter to the last");
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

    private static long Of(Dictionary<string, long> counts, string outcome) => counts.GetValueOrDefault(outcome);

    private static string Text(Dictionary<string, long> counts) =>
        string.Join(", ", counts.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Value} {pair.Key}"));

    /// <summary>
    /// Anonymous memory in the second quarter of a scenario and in its last, each look after a collection. The median of a
    /// quarter's looks counts: what is in flight comes and goes, and so does the model itself where it is reloaded.
    /// </summary>
    private sealed class MemoryInTime(Stopwatch clock, TimeSpan duration)
    {
        private readonly List<double> middle = [];
        private readonly List<double> end = [];

        public double Middle => Percentile(middle, 0.5);

        public double End => Percentile(end, 0.5);

        public double Growth => middle.Count == 0 || end.Count == 0 ? 1 : End / Middle;

        public void Look()
        {
            List<double>? looks = (clock.Elapsed / duration) switch
            {
                >= 0.25 and < 0.5 => middle,
                >= 0.75 and < 1 => end,
                _ => null,
            };
            looks?.Add(ResidentMemory.Measure().Anonymous);
        }
    }
}
