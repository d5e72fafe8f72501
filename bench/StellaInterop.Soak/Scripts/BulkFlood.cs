using System.Globalization;
using StellaInterop.Bench.Measuring;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak.Scripts;

/// <summary>
/// Sends one interactive text every 10 ms, without waiting for answers, while 200 bulk calls are queued and 40 bulk streams are
/// open.
/// </summary>
internal sealed class BulkFlood : IScript
{
    private const int BulkCalls = 200;
    private const int BulkTexts = 256;
    private const int Streams = 40;

    /// <summary>Limit of the median latency under flood, in medians of the idle pool. One full batch is added.</summary>
    private const double MaxIdleMedians = 3;

    /// <summary>Share of the maximum tokens from which a batch counts as full, because the next text did not fit.</summary>
    private const double FullBatch = 0.9;

    /// <summary>Share of the machine that other processes may take. Above it, the latency is not a promise.</summary>
    private const double MaxOthersShare = 0.1;

    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan LongestIdle = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan BulkTimeout = TimeSpan.FromMinutes(10);

    public async Task RunAsync(ScenarioContext context)
    {
        var load = new MachineLoad();
        StellaPoolOptions options = context.Options();
        var idle = new DurationHistogram();
        var flooded = new DurationHistogram();
        var batches = new DurationHistogram();
        FaultyModel source = context.Model(
            forwarded: (tokens, seconds) => Add(batches, seconds, tokens >= FullBatch * options.EffectiveBatchTokens));
        var pool = new StellaEmbeddingPool(source, options);
        _ = await context.Ledger.CallAsync(() => pool.WarmUpAsync()).ConfigureAwait(false);
        TimeSpan idleTime = context.Duration / 4 < LongestIdle ? context.Duration / 4 : LongestIdle;
        await CallInteractivelyAsync(context, pool, idle, context.Clock.Elapsed + idleTime).ConfigureAwait(false);
        context.HasStreams = true;
        int waiting = 0;
        await context.RoundsAsync(MinRound, async (round, until) =>
        {
            using var end = new CancellationTokenSource();
            Task[] bulk =
            [
                .. Enumerable.Range(0, BulkCalls).Select(i => Task.Run(() => CallAsync(context, pool, new Random(context.Seed + (1000 * round) + i), end.Token))),
                .. Enumerable.Range(0, Streams).Select(i => Task.Run(() => StreamAsync(context, pool, (1000 * round) + i, end.Token))),
            ];
            _ = await ScenarioContext.EventuallyAsync(() => pool.GetHealth().QueuedCallCount >= BulkCalls + Streams, MinRound).ConfigureAwait(false);
            waiting = Math.Max(waiting, pool.GetHealth().QueuedCallCount);
            await CallInteractivelyAsync(context, pool, flooded, until).ConfigureAwait(false);
            await end.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(bulk).ConfigureAwait(false);

            // The texts of cancelled calls are freed once their batches and their tokenization have ended.
            _ = await ScenarioContext.EventuallyAsync(() => pool.GetHealth() is { BusyWorkerCount: 0, QueuedCallCount: 0 }, MinRound).ConfigureAwait(false);
        }).ConfigureAwait(false);

        await context.DisposeAsync(pool).ConfigureAwait(false);
        double others = load.OthersShare() ?? 1;
        double limit = (MaxIdleMedians * idle.Percentile(0.5)) + batches.Percentile(0.5);
        double ratio = flooded.Percentile(0.5) / limit;
        context.Promise(waiting >= BulkCalls, $"At most {waiting} calls were queued at once, instead of {BulkCalls}.");
        string figures = string.Create(
            CultureInfo.InvariantCulture,
            $"interactive median {flooded.Percentile(0.5) * 1e3:F2} ms under flood, {idle.Percentile(0.5) * 1e3:F2} ms on the idle pool; full batch {batches.Percentile(0.5) * 1e3:F2} ms; {ratio:F2} of 3 x idle + one batch; {flooded.Count} interactive calls, {waiting} calls in the queue at most; other processes took {others * 100:F0} %");
        context.Report(figures);
        context.Promise(
            ratio <= 1 || !context.MeasuresTimes || others >= MaxOthersShare,
            $"Interactive calls are too slow under flood: {figures}.");
    }

    private static void Add(DurationHistogram times, double seconds, bool counts)
    {
        if (counts)
        {
            lock (times)
            {
                times.Add(seconds);
            }
        }
    }

    /// <summary>Sends a text every 10 ms until the clock reaches a time, then waits for all answers.</summary>
    private static async Task CallInteractivelyAsync(ScenarioContext context, StellaEmbeddingPool pool, DurationHistogram times, TimeSpan until)
    {
        var random = new Random(context.Seed);
        List<Task> calls = [];
        using var timer = new PeriodicTimer(Period);
        do
        {
            int text = context.Known.ShortTexts[random.Next(context.Known.ShortTexts.Length)];
            calls.Add(Task.Run(() => AskAsync(text)));
        }
        while (await timer.WaitForNextTickAsync().ConfigureAwait(false) && context.Clock.Elapsed < until);

        await Task.WhenAll(calls).ConfigureAwait(false);

        async Task AskAsync(int text)
        {
            var options = new StellaCallOptions
            {
                Priority = context.Defect.IgnoresPriority ? StellaPriority.Bulk : StellaPriority.Interactive,
                Timeout = Caller.LongTimeout,
            };
            Answer<float[]> answer = await context.Ledger.CallAsync(() => pool.EmbedAsync(context.Known.Texts[text], null, options)).ConfigureAwait(false);
            if (answer.Value is not { } vector)
            {
                context.Ledger.AddUnserved(answer.Outcome, answer.Error);
                return;
            }

            int wrong = context.Known.IsExpected(text, StellaPrompt.Document, context.Known.DefaultDimension, vector) ? 0 : 1;
            context.Ledger.AddVectors(1, 0, 0, wrong, answer.Seconds);
            Add(times, answer.Seconds, counts: true);
        }
    }

    /// <summary>Makes one bulk call after the other. Each has a random prompt and dimension, so that calls share few texts.</summary>
    private static async Task CallAsync(ScenarioContext context, StellaEmbeddingPool pool, Random random, CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            int[] indices = [.. Enumerable.Range(0, BulkTexts).Select(_ => random.Next(context.Known.Texts.Length))];
            StellaEmbedOptions embed = RandomOptions(context, random);
            var options = new StellaCallOptions { Priority = StellaPriority.Bulk, QueueFullMode = StellaQueueFullMode.Wait, Timeout = BulkTimeout };
            Answer<StellaEmbeddings> answer = await context.Ledger.CallAsync(
                () => pool.EmbedAsync(Array.ConvertAll(indices, index => context.Known.Texts[index]), embed, options, end)).ConfigureAwait(false);
            if (answer.Value is { } found)
            {
                int wrong = Enumerable.Range(0, indices.Length)
                    .Count(i => !context.Known.IsExpected(indices[i], embed.Prompt, embed.Dimension!.Value, found[i].Span));
                context.Ledger.AddVectors(indices.Length, found.Summary.TokenCount, 0, wrong, null);
            }
            else if (answer.Outcome != Outcomes.Cancelled)
            {
                context.Promise(false, $"A bulk call in queue mode Wait was not answered: {answer.Error!.Message}");
                return;
            }
        }
    }

    /// <summary>Reads the vectors of an endless stream.</summary>
    private static async Task StreamAsync(ScenarioContext context, StellaEmbeddingPool pool, int number, CancellationToken end)
    {
        StellaEmbedOptions embed = RandomOptions(context, new Random(number));
        int count = context.Known.Texts.Length;
        long wrong = 0;
        int texts = 0;
        try
        {
            await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(TextsAsync(), embed, null, end).ConfigureAwait(false))
            {
                int text = (int)((number + embedding.TextIndex) % count);
                wrong += context.Known.IsExpected(text, embed.Prompt, embed.Dimension!.Value, embedding.Vector.Span) ? 0 : 1;
                texts++;
            }
        }
        catch (OperationCanceledException)
        {
        }
        catch (StellaException e)
        {
            context.Promise(false, $"A stream failed: {e.Message}");
        }

        context.Ledger.AddVectors(texts, 0, 0, (int)wrong, null);

        async IAsyncEnumerable<string> TextsAsync()
        {
            await Task.Yield();
            for (int i = 0; !end.IsCancellationRequested; i++)
            {
                yield return context.Known.Texts[(number + i) % count];
            }
        }
    }

    private static StellaEmbedOptions RandomOptions(ScenarioContext context, Random random) => new()
    {
        Prompt = KnownTexts.Prompts[random.Next(3)],
        Dimension = context.Known.Dimensions[random.Next(context.Known.Dimensions.Length)],
    };
}
