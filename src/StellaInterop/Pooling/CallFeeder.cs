using System.Runtime.InteropServices;

namespace StellaInterop.Pooling;

/// <summary>
/// Brings the texts of a call into the queue: tokenizes on the caller's side, a few at a time, as far ahead as the queue lets
/// the call. So a call of ten thousand texts holds the tokens of two batches, and copies no text.
/// </summary>
internal sealed class CallFeeder(
    StellaPoolOptions options, Scheduler scheduler, ModelHost host, ResultCache? cache, PoolTelemetry telemetry)
    : IDisposable
{
    /// <summary>Room for the special tokens and the prompt of one text.</summary>
    private const int ExtraTokens = 64;

    /// <summary>A UTF-16 unit is three bytes at most, and a token at least one.</summary>
    private const int TokensPerCharacter = 3;

    /// <summary>More threads than processors would only wait for each other.</summary>
    private readonly SemaphoreSlim tokenizers = new(Environment.ProcessorCount);

    private readonly int batchTokens = options.EffectiveBatchTokens;

    /// <summary>Feeds a call to its end. Errors become the call's.</summary>
    /// <param name="call">The call.</param>
    /// <param name="open">Tells the call where its vectors go, once the model is known.</param>
    public async Task FeedAsync(PoolCall call, Action<PoolCall, StellaModelInfo> open)
    {
        try
        {
            await scheduler.AdmitAsync(call, Bound(call.Texts.Span)).ConfigureAwait(false);
            Task<LoadedModel> load = host.AcquireAsync();
            if (!call.TryHoldModel())
            {
                host.Release();
                return;
            }

            LoadedModel loaded = await load.ConfigureAwait(false);
            open(call, loaded.Model.Info);
            await FeedAsync(call, loaded).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // Whatever it is, it is the caller's answer.
        catch (Exception e)
#pragma warning restore CA1031
        {
            call.End(e is StellaPoolException or StellaMemoryException ? CallOutcome.Rejected : CallOutcome.Failed, e);
        }
    }

    public void Dispose() => tokenizers.Dispose();

    private async Task FeedAsync(PoolCall call, LoadedModel loaded)
    {
        List<int> indices = [];
        for (int next = 0; next < call.Texts.Length;)
        {
            next = TakePart(call, next, indices);
            TokenizedText[] tokens = await TokenizeAsync(call, loaded.Model, indices).ConfigureAwait(false);
            await scheduler.RoomAsync(call, tokens.Sum(text => text.Ids.Length)).ConfigureAwait(false);
            scheduler.Enqueue(call, tokens, CollectionsMarshal.AsSpan(indices), isLast: next == call.Texts.Length);
            loaded.Crew.Grow();
            if (call.IsAnswered)
            {
                return;
            }
        }
    }

    /// <summary>Picks texts that fit into a batch together, however many tokens they turn out to have; answers those whose vector is kept.</summary>
    /// <returns>The first text after them.</returns>
    private int TakePart(PoolCall call, int first, List<int> indices)
    {
        indices.Clear();
        ReadOnlySpan<string> texts = call.Texts.Span;
        long bound = 0;
        for (int i = first; i < texts.Length; i++)
        {
            if (IsKept(call, i, texts[i]))
            {
                continue;
            }

            bound += Bound(texts[i]);
            if (bound > batchTokens && indices.Count > 0)
            {
                return i;
            }

            indices.Add(i);
        }

        return texts.Length;
    }

    private bool IsKept(PoolCall call, int index, string? text)
    {
        if (cache is null
            || text is null
            || !cache.TryGet(new TextKey(text, call.EmbedOptions.Prompt, call.Kind), out float[]? vector, out StellaTokenCount count)
            || (count.IsTruncated && call.EmbedOptions.OnLongText == StellaLongText.Error)
            || (count.Replaced > 0 && call.EmbedOptions.OnInvalidText == StellaInvalidText.Error))
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

        await tokenizers.WaitAsync().ConfigureAwait(false);
        try
        {
            if (call.IsAnswered)
            {
                return [];
            }

            long begin = options.TimeProvider.GetTimestamp();
            TokenizedText[] tokens = Tokenize(call, model, indices);
            telemetry.Tokenized(begin);
            for (int i = 0; i < tokens.Length; i++)
            {
                call.Count(indices[i], tokens[i].Count);
            }

            return tokens;
        }
        finally
        {
            _ = tokenizers.Release();
        }
    }

    private static TokenizedText[] Tokenize(PoolCall call, IPoolModel model, List<int> indices)
    {
        StellaEmbedOptions embed = call.EmbedOptions;
        ReadOnlySpan<string> texts = call.Texts.Span;
        bool isRun = indices[^1] - indices[0] == indices.Count - 1;
        if (isRun && (indices.Count == 1 || call.Options.OnFailedText == StellaOnFailedText.FailCall))
        {
            var run = new TokenizedText[indices.Count];
            try
            {
                model.Tokenize(texts.Slice(indices[0], indices.Count), embed.FirstTextIndex + indices[0], embed, run);
                return run;
            }
            catch (StellaInputException e) when (call.Options.OnFailedText == StellaOnFailedText.Report)
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

    /// <summary>The most tokens that texts can have; <see langword="null"/> when they may not all fit into a batch.</summary>
    private long? Bound(ReadOnlySpan<string> texts)
    {
        long bound = 0;
        foreach (string text in texts)
        {
            bound += Bound(text);
            if (bound > batchTokens)
            {
                return null;
            }
        }

        return bound;
    }

    private long Bound(string? text) =>
        Math.Min(options.Model.MaxTokens, (TokensPerCharacter * (long)(text?.Length ?? 0)) + ExtraTokens);
}
