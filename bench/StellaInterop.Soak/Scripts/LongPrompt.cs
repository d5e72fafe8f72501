using System.Globalization;

namespace StellaInterop.Soak.Scripts;

/// <summary>Queries of 1 to 20 texts on a model whose prompts have several hundred words. No call has a timeout of the pool.</summary>
internal sealed class LongPrompt : IScript
{
    private const int PromptWords = 300;
    private const int Callers = 4;
    private const int MaxTexts = 20;

    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);

    /// <summary>A call that has no answer by then is taken back, and counts as lost.</summary>
    private static readonly TimeSpan LongTimeout = TimeSpan.FromSeconds(20);

    public async Task RunAsync(ScenarioContext context)
    {
        using var copy = new ModelCopy(context.Folder);
        copy.LengthenPrompts(PromptWords);
        var known = KnownTexts.Few(copy.Path, context.ModelOptions, StellaPrompt.SearchQuery, StellaPrompt.SentenceSimilarity);
        var pool = new StellaEmbeddingPool(context.Model(from: copy.Path), context.Options());
        long tokens = 0;
        long texts = 0;
        await context.RoundsAsync(MinRound, (round, until) => Task.WhenAll(
            Enumerable.Range(0, Callers).Select(i => Task.Run(() => AskAsync(new Random(context.Seed + (100 * round) + i), until))))).ConfigureAwait(false);
        await context.DisposeAsync(pool).ConfigureAwait(false);
        context.Report(string.Create(CultureInfo.InvariantCulture, $"{(double)tokens / Math.Max(1, texts):F0} tokens a text"));

        async Task AskAsync(Random random, TimeSpan until)
        {
            while (context.Clock.Elapsed < until)
            {
                int[] indices = [.. Enumerable.Range(0, random.Next(1, MaxTexts + 1)).Select(_ => known.ShortTexts[random.Next(known.ShortTexts.Length)])];
                StellaPrompt prompt = random.Next(2) == 0 ? StellaPrompt.SearchQuery : StellaPrompt.SentenceSimilarity;
                using var lost = new CancellationTokenSource(LongTimeout);
                Answer<StellaEmbeddings> answer = await context.Ledger.CallAsync(() => pool.EmbedAsync(
                    Array.ConvertAll(indices, index => known.Texts[index]), new StellaEmbedOptions { Prompt = prompt }, null, lost.Token)).ConfigureAwait(false);
                if (answer.Value is not { } found)
                {
                    context.Ledger.AddUnserved(
                        answer.Outcome == Outcomes.Cancelled ? $"a call of {indices.Length} texts had no answer within {LongTimeout.TotalSeconds} s" : answer.Outcome,
                        answer.Outcome == Outcomes.Cancelled ? null : answer.Error);
                    continue;
                }

                int wrong = Enumerable.Range(0, indices.Length).Count(i => !known.IsExpected(indices[i], prompt, known.DefaultDimension, found[i].Span));
                context.Ledger.Vectors(indices.Length, found.Summary.TokenCount, 0, wrong, null);
                _ = Interlocked.Add(ref tokens, found.Summary.TokenCount);
                _ = Interlocked.Add(ref texts, indices.Length);
            }
        }
    }
}
