using System.Globalization;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Soak.Scripts;

/// <summary>
/// One interactive caller sends a text every 10 ms, whether or not the last was answered, while 200 bulk calls wait and 40 bulk
/// streams are open.
/// </summary>
internal sealed class BulkFlood : IScript
{
    private const int BulkCalls = 200;
    private const int BulkTexts = 256;
    private const int Streams = 40;

    /// <summary>Median latency under flood, in medians on an idle pool, beside one full batch.</summary>
    private const double MostIdleMedians = 3;

    /// <summary>A batch counts as full from this part of its tokens on: the next text did not fit.</summary>
    private const double FullBatch = 0.9;

    /// <summary>The latency is a promise on a machine that others leave alone, in runs that measure times.</summary>
    private const double MostOthers = 0.1;

    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan LongestIdle = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan LeastRound = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongTimeout = TimeSpan.FromMinutes(10);

    public async Task RunAsync(Stage stage)
    {
        var load = new MachineLoad();
        StellaPoolOptions options = stage.Options();
        var idle = new Times();
        var flooded = new Times();
        var batches = new Times();
        FaultyModel source = stage.Model(
            forwarded: (tokens, seconds) => Add(batches, seconds, tokens >= FullBatch * options.EffectiveBatchTokens));
        var pool = new StellaEmbeddingPool(source, options);
        _ = await stage.Books.CallAsync(() => pool.WarmUpAsync()).ConfigureAwait(false);
        TimeSpan idleTime = stage.Duration / 4 < LongestIdle ? stage.Duration / 4 : LongestIdle;
        await InteractAsync(stage, pool, idle, stage.Clock.Elapsed + idleTime).ConfigureAwait(false);
        stage.HasStreams = true;
        int waiting = 0;
        await stage.RoundsAsync(LeastRound, async (round, until) =>
        {
            using var end = new CancellationTokenSource();
            Task[] bulk =
            [
                .. Enumerable.Range(0, BulkCalls).Select(i => Task.Run(() => CallAsync(stage, pool, new Random(stage.Seed + (1000 * round) + i), end.Token))),
                .. Enumerable.Range(0, Streams).Select(i => Task.Run(() => StreamAsync(stage, pool, (1000 * round) + i, end.Token))),
            ];
            _ = await Stage.EventuallyAsync(() => pool.GetHealth().QueuedCallCount >= BulkCalls + Streams, LeastRound).ConfigureAwait(false);
            waiting = Math.Max(waiting, pool.GetHealth().QueuedCallCount);
            await InteractAsync(stage, pool, flooded, until).ConfigureAwait(false);
            await end.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(bulk).ConfigureAwait(false);

            // The texts of cancelled calls are freed when their batches and their tokenizers have ended.
            _ = await Stage.EventuallyAsync(() => pool.GetHealth() is { BusyWorkerCount: 0, QueuedCallCount: 0 }, LeastRound).ConfigureAwait(false);
        }).ConfigureAwait(false);

        await stage.DisposeAsync(pool).ConfigureAwait(false);
        double others = load.OthersShare() ?? 1;
        double limit = (MostIdleMedians * idle.Percentile(0.5)) + batches.Percentile(0.5);
        double ratio = flooded.Percentile(0.5) / limit;
        stage.Promise(waiting >= BulkCalls, $"at most {waiting} calls waited at once");
        string figures = string.Create(
            CultureInfo.InvariantCulture,
            $"interactive median {flooded.Percentile(0.5) * 1e3:F2} ms under flood, {idle.Percentile(0.5) * 1e3:F2} ms on the idle pool; full batch {batches.Percentile(0.5) * 1e3:F2} ms; {ratio:F2} of 3 x idle + one batch; {flooded.Count} interactive calls, {waiting} calls in the queue at most; others took {others * 100:F0} %");
        stage.Report(figures);
        stage.Promise(
            ratio <= 1 || !stage.MeasuresTimes || others >= MostOthers,
            $"interactive calls are too slow under flood: {figures}");
    }

    private static void Add(Times times, double seconds, bool counts)
    {
        if (counts)
        {
            lock (times)
            {
                times.Add(seconds);
            }
        }
    }

    /// <summary>Sends a text every 10 ms until a time, then waits for all answers.</summary>
    private static async Task InteractAsync(Stage stage, StellaEmbeddingPool pool, Times times, TimeSpan until)
    {
        var random = new Random(stage.Seed);
        List<Task> calls = [];
        using var timer = new PeriodicTimer(Period);
        do
        {
            int text = stage.Known.ShortTexts[random.Next(stage.Known.ShortTexts.Length)];
            calls.Add(Task.Run(() => AskAsync(text)));
        }
        while (await timer.WaitForNextTickAsync().ConfigureAwait(false) && stage.Clock.Elapsed < until);

        await Task.WhenAll(calls).ConfigureAwait(false);

        async Task AskAsync(int text)
        {
            var options = new StellaCallOptions
            {
                Priority = stage.Defect.IgnoresPriority ? StellaPriority.Bulk : StellaPriority.Interactive,
                Timeout = Caller.Patience,
            };
            Answer<float[]> answer = await stage.Books.CallAsync(() => pool.EmbedAsync(stage.Known.Texts[text], null, options)).ConfigureAwait(false);
            if (answer.Value is not { } vector)
            {
                stage.Books.NotKept(answer.Outcome, answer.Error);
                return;
            }

            int wrong = stage.Known.IsRight(text, StellaPrompt.Document, stage.Known.DefaultDimension, vector) ? 0 : 1;
            stage.Books.Vectors(1, 0, 0, wrong, answer.Seconds);
            Add(times, answer.Seconds, counts: true);
        }
    }

    /// <summary>Makes one bulk call after the other, of one kind each, so that few texts are shared.</summary>
    private static async Task CallAsync(Stage stage, StellaEmbeddingPool pool, Random random, CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            int[] indices = [.. Enumerable.Range(0, BulkTexts).Select(_ => random.Next(stage.Known.Texts.Length))];
            StellaEmbedOptions embed = AnyKind(stage, random);
            var options = new StellaCallOptions { Priority = StellaPriority.Bulk, QueueFullMode = StellaQueueFullMode.Wait, Timeout = LongTimeout };
            Answer<StellaEmbeddings> answer = await stage.Books.CallAsync(
                () => pool.EmbedAsync(Array.ConvertAll(indices, index => stage.Known.Texts[index]), embed, options, end)).ConfigureAwait(false);
            if (answer.Value is { } found)
            {
                int wrong = Enumerable.Range(0, indices.Length)
                    .Count(i => !stage.Known.IsRight(indices[i], embed.Prompt, embed.Dimension!.Value, found[i].Span));
                stage.Books.Vectors(indices.Length, found.Summary.TokenCount, 0, wrong, null);
            }
            else if (answer.Outcome != Outcomes.Cancelled)
            {
                stage.Promise(false, $"a bulk call that could wait was not answered: {answer.Error!.Message}");
                return;
            }
        }
    }

    /// <summary>Reads vectors of an endless stream.</summary>
    private static async Task StreamAsync(Stage stage, StellaEmbeddingPool pool, int number, CancellationToken end)
    {
        StellaEmbedOptions embed = AnyKind(stage, new Random(number));
        int count = stage.Known.Texts.Length;
        long wrong = 0;
        int texts = 0;
        try
        {
            await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(TextsAsync(), embed, null, end).ConfigureAwait(false))
            {
                int text = (int)((number + embedding.TextIndex) % count);
                wrong += stage.Known.IsRight(text, embed.Prompt, embed.Dimension!.Value, embedding.Vector.Span) ? 0 : 1;
                texts++;
            }
        }
        catch (OperationCanceledException)
        {
        }
        catch (StellaException e)
        {
            stage.Promise(false, $"a stream failed: {e.Message}");
        }

        stage.Books.Vectors(texts, 0, 0, (int)wrong, null);

        async IAsyncEnumerable<string> TextsAsync()
        {
            await Task.Yield();
            for (int i = 0; !end.IsCancellationRequested; i++)
            {
                yield return stage.Known.Texts[(number + i) % count];
            }
        }
    }

    private static StellaEmbedOptions AnyKind(Stage stage, Random random) => new()
    {
        Prompt = KnownTexts.Prompts[random.Next(3)],
        Dimension = stage.Known.Dimensions[random.Next(stage.Known.Dimensions.Length)],
    };
}
