using System.Diagnostics;

namespace StellaInterop.Soak;

/// <summary>Calls a pool again and again, and looks at every answer.</summary>
internal sealed class Caller(Traffic traffic, KnownTexts known, Books books, Func<StellaEmbeddingPool> pool, int seed)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly Random random = new(seed);

    /// <summary>Calls until the time is over.</summary>
    public async Task RunAsync(Stopwatch clock, TimeSpan until)
    {
        while (clock.Elapsed < until)
        {
            await CallAsync(clock, traffic.Texts, StellaPriority.Interactive).ConfigureAwait(false);
            if (traffic.Pause > TimeSpan.Zero)
            {
                await Task.Delay(traffic.Pause).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Makes bulk calls of so many texts until the time is over, and does something before each.</summary>
    public async Task RunBulkAsync(Stopwatch clock, TimeSpan until, int texts, Action before)
    {
        while (clock.Elapsed < until)
        {
            before();
            TimeSpan left = until - clock.Elapsed;
            if (left <= TimeSpan.Zero)
            {
                return;
            }

            using var end = new CancellationTokenSource(left);
            await CallAsync(clock, texts, StellaPriority.Bulk, exactly: true, end.Token).ConfigureAwait(false);
        }
    }

    private async Task CallAsync(
        Stopwatch clock, int texts, StellaPriority priority, bool exactly = false, CancellationToken end = default)
    {
        int[] indices = new int[exactly ? texts : random.Next(1, texts + 1)];
        for (int i = 0; i < indices.Length; i++)
        {
            indices[i] = random.Next(known.Texts.Length);
        }

        StellaPrompt prompt = traffic.Mixed ? (StellaPrompt)random.Next(3) : StellaPrompt.Document;
        int dimension = traffic.Mixed ? known.Dimensions[random.Next(known.Dimensions.Length)] : known.DefaultDimension;
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(end);
        if (Chance(traffic.CancelOneIn))
        {
            cancel.CancelAfter(TimeSpan.FromMilliseconds(random.Next(0, 10)));
        }

        var options = new StellaCallOptions
        {
            Priority = traffic.Mixed ? (StellaPriority)random.Next(2) : priority,
            WhenFull = traffic.Mixed ? (StellaWhenFull)random.Next(2) : StellaWhenFull.Reject,
            Timeout = Chance(traffic.HurryOneIn) ? TimeSpan.FromMilliseconds(random.Next(1, 20)) : Patience,
            OnFailedText = traffic.Report ? StellaOnFailedText.Report : StellaOnFailedText.FailCall,
        };
        books.Submit();
        long begin = Stopwatch.GetTimestamp();
        try
        {
            StellaEmbeddings found = await pool().EmbedAsync(
                Array.ConvertAll(indices, index => known.Texts[index]),
                new StellaEmbedOptions { Prompt = prompt, Dimension = dimension },
                options,
                cancel.Token).ConfigureAwait(false);
            double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
            HashSet<int> failed = [.. found.Summary.Failures.Select(failure => failure.TextIndex)];
            int wrong = Enumerable.Range(0, indices.Length).Count(i => !failed.Contains(i) && !known.IsRight(indices[i], prompt, dimension, found[i].Span));
            books.Vectors(indices.Length, found.Summary.Tokens, failed.Count, wrong, indices.Length == 1 ? seconds : null);
            books.Answer("completed");
        }
        catch (StellaOverloadedException)
        {
            books.Rejected((int)clock.Elapsed.TotalSeconds, Stopwatch.GetElapsedTime(begin).TotalSeconds);
            books.Answer("rejected");
            await Task.Delay(1, CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception e) when (e is StellaCircuitOpenException or StellaPoolClosedException)
        {
            books.Answer("rejected");
            await Task.Delay(1, CancellationToken.None).ConfigureAwait(false);
        }
        catch (StellaTimeoutException)
        {
            books.Answer("timed_out");
        }
        catch (OperationCanceledException)
        {
            books.Answer("cancelled");
        }
        catch (StellaException e)
        {
            books.Answer("failed");
            if (e.InnerException is not StellaException { Message: "a panic that was made" })
            {
                books.Error(e);
            }
        }
#pragma warning disable CA1031 // Whatever it is, the table shall say so.
        catch (Exception e)
#pragma warning restore CA1031
        {
            books.Answer("unknown");
            books.Error(e);
        }
    }

    private bool Chance(int oneIn) => oneIn > 0 && random.Next(oneIn) == 0;
}
