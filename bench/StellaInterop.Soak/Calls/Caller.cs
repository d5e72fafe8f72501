using System.Diagnostics;

namespace StellaInterop.Soak.Calls;

/// <summary>Calls a pool in a loop and checks every answer.</summary>
internal sealed class Caller(Traffic traffic, KnownTexts known, CallLedger ledger, Func<StellaEmbeddingPool> pool, CallGate gate, int seed)
{
    private readonly Random random = new(seed);

    /// <summary>Gets the timeout of calls without a short timeout. A call that takes longer counts as lost.</summary>
    public static TimeSpan LongTimeout { get; } = TimeSpan.FromSeconds(60);

    /// <summary>Makes calls until the clock reaches a time, or until the caller is stopped.</summary>
    public async Task RunAsync(Stopwatch clock, TimeSpan until, CancellationToken end = default)
    {
        while (clock.Elapsed < until && !end.IsCancellationRequested)
        {
            await CallAsync(traffic.Texts, StellaPriority.Interactive, isExactCount: false, CancellationToken.None).ConfigureAwait(false);
            if (traffic.Pause > TimeSpan.Zero)
            {
                await Task.Delay(traffic.Pause, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Makes bulk calls with a fixed number of texts until the clock reaches a time. Runs an action before each call.</summary>
    public async Task RunBulkAsync(Stopwatch clock, TimeSpan until, int texts, Func<Task> beforeCall)
    {
        while (clock.Elapsed < until)
        {
            await beforeCall().ConfigureAwait(false);
            TimeSpan left = until - clock.Elapsed;
            if (left <= TimeSpan.Zero)
            {
                return;
            }

            using var end = new CancellationTokenSource(left);
            await CallAsync(texts, StellaPriority.Bulk, isExactCount: true, end.Token).ConfigureAwait(false);
        }
    }

    private async Task CallAsync(int texts, StellaPriority priority, bool isExactCount, CancellationToken end)
    {
        int[] indices = new int[isExactCount ? texts : random.Next(1, texts + 1)];
        for (int i = 0; i < indices.Length; i++)
        {
            indices[i] = random.Next(known.Texts.Length);
        }

        StellaPrompt prompt = traffic.Mixed ? KnownTexts.Prompts[random.Next(3)] : StellaPrompt.Document;
        int dimension = traffic.Mixed ? known.Dimensions[random.Next(known.Dimensions.Length)] : known.DefaultDimension;
        await gate.EnterAsync().ConfigureAwait(false);
        Answer<StellaEmbeddings> answer;
        try
        {
            using var cancel = CancellationTokenSource.CreateLinkedTokenSource(end);
            if (Chance(traffic.CancelOneIn))
            {
                cancel.CancelAfter(TimeSpan.FromMilliseconds(random.Next(0, 10)));
            }

            var options = new StellaCallOptions
            {
                Priority = traffic.Mixed ? (StellaPriority)random.Next(2) : priority,
                QueueFullMode = traffic.Mixed ? (StellaQueueFullMode)random.Next(2) : StellaQueueFullMode.Reject,
                Timeout = Chance(traffic.ShortTimeoutOneIn) ? TimeSpan.FromMilliseconds(random.Next(1, 20)) : LongTimeout * ledger.ClockFactor,
                TextFailureMode = traffic.Report ? StellaTextFailureMode.Report : StellaTextFailureMode.FailCall,
            };
            answer = await ledger.CallAsync(
                () => pool().EmbedAsync(
                    Array.ConvertAll(indices, index => known.Texts[index]),
                    new StellaEmbedOptions { Prompt = prompt, Dimension = dimension },
                    options,
                    cancel.Token),
                traffic.IsExpectedError).ConfigureAwait(false);
        }
        finally
        {
            gate.Leave();
        }

        if (answer.Value is { } found)
        {
            HashSet<int> failed = [.. found.Summary.Failures.Select(failure => failure.TextIndex)];
            int wrong = Enumerable.Range(0, indices.Length).Count(i => !failed.Contains(i) && !known.IsExpected(indices[i], prompt, dimension, found[i].Span));
            ledger.AddVectors(indices.Length, found.Summary.TokenCount, failed.Count, wrong, indices.Length == 1 ? answer.Seconds : null);
            return;
        }

        if (traffic.MustComplete)
        {
            ledger.AddUnserved(answer.Outcome, answer.Error);
        }

        if (answer.Outcome is Outcomes.Rejected or Outcomes.Failed)
        {
            await Task.Delay(1, CancellationToken.None).ConfigureAwait(false);
        }
    }

    private bool Chance(int oneIn) => oneIn > 0 && random.Next(oneIn) == 0;
}
