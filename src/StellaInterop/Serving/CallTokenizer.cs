using System.Diagnostics;

namespace StellaInterop.Serving;

/// <summary>
/// Tokenizes the texts of a call on the caller's side, one part at a time, so that a call of ten thousand texts holds the tokens of two
/// batches. Texts whose vector is in the cache are answered without being tokenized.
/// </summary>
internal sealed class CallTokenizer(StellaPoolOptions options, PoolLimits limits, ResultCache? cache, PoolTelemetry telemetry)
{
    /// <summary>
    /// The largest number of tokens per UTF-16 unit, unless normalization makes the text longer: a unit is at most three bytes, and a token is
    /// at least one byte.
    /// </summary>
    private const int TokensPerCharacter = 3;

    /// <summary>
    /// Limits the calls that tokenize at once, by <see cref="StellaPriority"/>: more threads than processors would only slow each
    /// other down, and interactive calls must not queue behind bulk calls.
    /// </summary>
    private readonly Slots[] slots = [new(Environment.ProcessorCount), new(Math.Max(1, Environment.ProcessorCount / 2))];

    /// <summary>Tokenizes the next texts of a call that are likely to fit into a batch together.</summary>
    /// <param name="call">The call. It gets the errors of its texts, their token counts, and the vectors from the cache.</param>
    /// <param name="model">The model.</param>
    /// <param name="first">The first text of the part.</param>
    /// <returns>The texts of the part that have to be computed, and the first text after the part.</returns>
    public async Task<(QueuedText[] Texts, int Next)> NextPartAsync(PoolCall call, IPoolModel model, int first)
    {
        var part = new List<(int Index, TextKey Key)>();
        int next = TakePart(call, first, model.Info, part);
        if (part.Count == 0)
        {
            return ([], next);
        }

        Slots slotsOfPriority = slots[(int)call.Priority];
        await slotsOfPriority.EnterAsync().ConfigureAwait(false);
        TimeSpan elapsed;
        List<QueuedText> texts;
        try
        {
            if (call.IsAnswered)
            {
                return ([], next);
            }

            long begin = Stopwatch.GetTimestamp();
            texts = Tokenize(call, model, part);
            elapsed = Stopwatch.GetElapsedTime(begin);
        }
        finally
        {
            slotsOfPriority.Leave();
        }

        // After the slot is free: listeners may block, and other calls wait for the slot.
        telemetry.Tokenized(elapsed);
        call.AddTokenizationTime(elapsed);
        foreach (QueuedText text in texts)
        {
            call.Count(text.Index, text.Tokens.Count);
        }

        return ([.. texts], next);
    }

    /// <summary>Estimates the number of tokens of a call. Stops at two batches, the largest reservation.</summary>
    public long Estimate(PoolCall call, StellaModelInfo? info)
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

    /// <summary>Picks texts that are likely to fit into a batch together. Answers texts whose vector is in the cache.</summary>
    /// <returns>The first text after the part.</returns>
    private int TakePart(PoolCall call, int first, StellaModelInfo info, List<(int Index, TextKey Key)> part)
    {
        long estimate = 0;
        for (int i = first; i < call.Texts.Length; i++)
        {
            string? text = call.Texts[i];
            var key = new TextKey(text!, call.EmbedOptions.Prompt, call.Kind, call.FileStamp);
            if (text is not null && TryDeliverFromCache(call, i, key))
            {
                continue;
            }

            estimate += Estimate(text, call.EmbedOptions.Prompt, info);
            if (estimate > limits.BatchTokens && part.Count > 0)
            {
                return i;
            }

            part.Add((i, key));
        }

        return call.Texts.Length;
    }

    private bool TryDeliverFromCache(PoolCall call, int index, TextKey key)
    {
        if (cache is null
            || !cache.TryGet(key, out float[]? vector, out StellaTokenCount count)
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

    /// <summary>Tokenizes the texts of a part. In report mode, the call gets the errors of texts that cannot be tokenized.</summary>
    /// <exception cref="StellaInputException">A text cannot be tokenized, and its error fails the call.</exception>
    private static List<QueuedText> Tokenize(PoolCall call, IPoolModel model, List<(int Index, TextKey Key)> part)
    {
        var texts = new List<QueuedText>(part.Count);
        (int first, int count) = (part[0].Index, part.Count);
        bool isRun = part[^1].Index - first == count - 1;
        if (isRun && (count == 1 || call.Options.TextFailureMode == StellaTextFailureMode.FailCall))
        {
            Tokenize(call, model, first, part, texts);
            return texts;
        }

        // One by one, so that a bad text fails alone, or because the texts between have their vectors already.
        foreach ((int Index, TextKey Key) text in part)
        {
            Tokenize(call, model, text.Index, [text], texts);
        }

        return texts;
    }

    /// <summary>Tokenizes texts that follow each other in the call.</summary>
    private static void Tokenize(
        PoolCall call, IPoolModel model, int first, List<(int Index, TextKey Key)> part, List<QueuedText> texts)
    {
        StellaEmbedOptions embed = call.EmbedOptions;
        var tokens = new TokenizedText[part.Count];
        try
        {
            model.Tokenize(call.Texts.AsSpan(first, part.Count), embed.FirstTextIndex + first, embed, tokens);
        }
        catch (StellaInputException e) when (call.Options.TextFailureMode == StellaTextFailureMode.Report)
        {
            call.FailText(first, e);
            return;
        }

        for (int i = 0; i < tokens.Length; i++)
        {
            texts.Add(new QueuedText(part[i].Index, part[i].Key, tokens[i]));
        }
    }

    /// <summary>
    /// Estimates the number of tokens of a text. The estimate is hardly ever too low, because only normalization makes a text longer.
    /// Before the first load, the lengths of prompt and special tokens are unknown and count as 0.
    /// </summary>
    private long Estimate(string? text, StellaPrompt prompt, StellaModelInfo? info) => Math.Min(
        info?.MaxTokens ?? options.Model.MaxTokens ?? ModelLimits.DefaultTextTokens,
        (TokensPerCharacter * (long)(text?.Length ?? 0)) + (info?.TokensBesideText(prompt) ?? 0));
}
