using System.Diagnostics;

namespace StellaInterop.Serving;

/// <summary>
/// Brings the texts of a call into the queue: tokenizes on the caller's side, a few at a time, as far ahead as the queue lets
/// the call. So a call of ten thousand texts holds the tokens of two batches, and copies no text.
/// </summary>
internal sealed class CallRunner(
    StellaPoolOptions options,
    PoolLimits limits, Scheduler scheduler, ModelHost host, ResultCache? cache, PoolTelemetry telemetry)
{
    /// <summary>A UTF-16 unit is three bytes at most, and a token of a text that does not grow at least one.</summary>
    private const int TokensPerCharacter = 3;

    /// <summary>
    /// Limits the calls that tokenize at once, by <see cref="StellaPriority"/>: more threads than processors would only slow each
    /// other down, and interactive calls must not queue behind bulk calls.
    /// </summary>
    private readonly Slots[] tokenizers = [new(Environment.ProcessorCount), new(Math.Max(1, Environment.ProcessorCount / 2))];

    /// <summary>Feeds a call to its end. Errors become the call's.</summary>
    /// <param name="call">The call.</param>
    /// <param name="open">Tells the call where its vectors go, once the model is known.</param>
    public async Task FeedAsync(PoolCall call, Action<PoolCall, StellaModelInfo> open)
    {
        try
        {
            await scheduler.AdmitAsync(call, Estimate(call, host.Info)).ConfigureAwait(false);
            if (call.IsAnswered)
            {
                // Taken back while it waited: nobody needs the model.
                return;
            }

            ModelUse use = host.Acquire();
            if (!call.TryHold(use))
            {
                host.Release(use);
                return;
            }

            if (await use.LoadedAsync().ConfigureAwait(false) is not { } loaded)
            {
                // Answered during the load, which may hang: the hold was given back.
                return;
            }

            call.Bind(loaded);
            open(call, loaded.Model.Info);
            await FeedAsync(call, loaded).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // Whatever it is, it is the caller's answer.
        catch (Exception e)
#pragma warning restore CA1031
        {
            call.EndBy(e);
        }
    }

    private async Task FeedAsync(PoolCall call, LoadedModel loaded)
    {
        List<int> indices = [];
        for (int next = 0; next < call.Texts.Length;)
        {
            next = TakePart(call, next, loaded.Model.Info, indices);
            TokenizedText[] tokens = await TokenizeAsync(call, loaded.Model, indices).ConfigureAwait(false);
            int[] places = [.. indices];
            bool isLast = next == call.Texts.Length;
            int begin = 0;
            do
            {
                // The estimate may have been too low: a part is cut again by the tokens that its texts really have.
                int end = EndOfBatch(tokens, begin);
                await scheduler.EnqueueAsync(
                    call, tokens.AsMemory(begin..end), places.AsMemory(begin..end), isLast && end == tokens.Length).ConfigureAwait(false);
                loaded.Crew.Grow();
                if (call.IsAnswered)
                {
                    return;
                }

                begin = end;
            }
            while (begin < tokens.Length);
        }
    }

    /// <summary>The end of the longest run of texts from <paramref name="begin"/> on that is a batch at most, or one text.</summary>
    private int EndOfBatch(TokenizedText[] tokens, int begin)
    {
        int end = begin;
        for (long sum = 0; end < tokens.Length; end++)
        {
            sum += tokens[end].Ids.Length;
            if (sum > limits.BatchTokens && end > begin)
            {
                break;
            }
        }

        return end;
    }

    /// <summary>Picks texts that are likely to fit into a batch together; answers those whose vector is kept.</summary>
    /// <returns>The first text after them.</returns>
    private int TakePart(PoolCall call, int first, StellaModelInfo info, List<int> indices)
    {
        indices.Clear();
        long estimate = 0;
        for (int i = first; i < call.Texts.Length; i++)
        {
            if (IsKept(call, i))
            {
                continue;
            }

            estimate += Estimate(call.Texts[i], call.EmbedOptions.Prompt, info);
            if (estimate > limits.BatchTokens && indices.Count > 0)
            {
                return i;
            }

            indices.Add(i);
        }

        return call.Texts.Length;
    }

    private bool IsKept(PoolCall call, int index)
    {
        if (cache is null
            || call.Texts[index] is not { } text
            || !cache.TryGet(call.KeyOf(text), out float[]? vector, out StellaTokenCount count)
            || (count.IsTruncated && call.EmbedOptions.LongTextBehavior == StellaLongTextBehavior.Error)
            || (count.Replaced > 0 && call.EmbedOptions.InvalidTextBehavior == StellaInvalidTextBehavior.Error))
        {
            return false;
        }

        telemetry.CacheHit();
        call.Count(index, count);
        call.Deliver(index, vector);
        return true;
    }

    /// <summary>Tokenizes the texts of these indices; takes those out that cannot be.</summary>
    private async Task<TokenizedText[]> TokenizeAsync(PoolCall call, IPoolModel model, List<int> indices)
    {
        if (indices.Count == 0)
        {
            return [];
        }

        Slots tokenizer = tokenizers[(int)call.Priority];
        await tokenizer.EnterAsync().ConfigureAwait(false);
        TimeSpan elapsed;
        TokenizedText[] tokens;
        try
        {
            if (call.IsAnswered)
            {
                return [];
            }

            long begin = Stopwatch.GetTimestamp();
            tokens = Tokenize(call, model, indices);
            elapsed = Stopwatch.GetElapsedTime(begin);
        }
        finally
        {
            tokenizer.Leave();
        }

        // Listeners may block, and must not do so while they hold a place that others wait for.
        telemetry.Tokenized(elapsed);
        for (int i = 0; i < tokens.Length; i++)
        {
            call.Count(indices[i], tokens[i].Count);
        }

        return tokens;
    }

    private static TokenizedText[] Tokenize(PoolCall call, IPoolModel model, List<int> indices)
    {
        StellaEmbedOptions embed = call.EmbedOptions;
        ReadOnlySpan<string> texts = call.Texts;
        bool isRun = indices[^1] - indices[0] == indices.Count - 1;
        if (isRun && (indices.Count == 1 || call.Options.TextFailureMode == StellaTextFailureMode.FailCall))
        {
            var run = new TokenizedText[indices.Count];
            try
            {
                model.Tokenize(texts.Slice(indices[0], indices.Count), embed.FirstTextIndex + indices[0], embed, run);
                return run;
            }
            catch (StellaInputException e) when (call.Options.TextFailureMode == StellaTextFailureMode.Report)
            {
                call.FailText(indices[0], e);
                indices.Clear();
                return [];
            }
        }

        // Each for itself, so that a bad one fails alone.
        var tokens = new List<TokenizedText>(indices.Count);
        Span<TokenizedText> one = new TokenizedText[1];
        for (int i = 0; i < indices.Count;)
        {
            try
            {
                model.Tokenize(texts.Slice(indices[i], 1), embed.FirstTextIndex + indices[i], embed, one);
                tokens.Add(one[0]);
                i++;
            }
            catch (StellaInputException e)
            {
                call.FailText(indices[i], e);
                indices.RemoveAt(i);
            }
        }

        return [.. tokens];
    }

    /// <summary>About how many tokens the texts of a call have, without looking further than two batches.</summary>
    private long Estimate(PoolCall call, StellaModelInfo? info)
    {
        long estimate = 0;
        foreach (string text in call.Texts)
        {
            estimate += Estimate(text, call.EmbedOptions.Prompt, info);
            if (estimate > 2L * limits.BatchTokens)
            {
                break;
            }
        }

        return estimate;
    }

    /// <summary>
    /// About how many tokens a text has: hardly ever too few, because only normalization makes a text longer. Before the first
    /// load the lengths of prompt and special tokens are not known, and count as nothing.
    /// </summary>
    private long Estimate(string? text, StellaPrompt prompt, StellaModelInfo? info) => Math.Min(
        info?.MaxTokens ?? options.Model.MaxTokens ?? StellaModelOptions.DefaultMaxTokens,
        (TokensPerCharacter * (long)(text?.Length ?? 0)) + (info?.TokensBesideText(prompt) ?? 0));
}
