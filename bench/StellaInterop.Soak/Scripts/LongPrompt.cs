using System.Globalization;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak.Scripts;

/// <summary>Sends queries of 1 to 20 texts to a model whose prompts have several hundred words. Calls have no timeout in the pool.</summary>
internal sealed class LongPrompt : IScript
{
    private const int PromptWords = 300;
    private const int Callers = 4;
    private const int MaxTexts = 20;

    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);

    /// <summary>Time after which a call without an answer is cancelled and counts as lost.</summary>
    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(20);

    public async Task RunAsync(ScenarioContext context)
    {
        using var copy = new ModelCopy(context.Folder);
        copy.LengthenPrompts(PromptWords);
        var known = KnownTexts.CreateSmallSet(copy.Path, context.ModelOptions, StellaPrompt.SearchQuery, StellaPrompt.SentenceSimilarity);
        var pool = new StellaEmbeddingPool(context.Model(modelFolder: copy.Path), context.Options());
        long tokens = 0;
        long texts = 0;
        await context.RoundsAsync(MinRound, (round, until) => Task.WhenAll(
            Enumerable.Range(0, Callers).Select(i => Task.Run(() => CallAsync(new Random(context.Seed + (100 * round) + i), until))))).ConfigureAwait(false);
        await context.DisposeAsync(pool).ConfigureAwait(false);
        context.Report(string.Create(CultureInfo.InvariantCulture, $"{(double)tokens / Math.Max(1, texts):F0} tokens per text"));

        async Task CallAsync(Random random, TimeSpan until)
        {
            while (context.Clock.Elapsed < until)
            {
                int[] indices = [.. Enumerable.Range(0, random.Next(1, MaxTexts + 1)).Select(_ => known.ShortTexts[random.Next(known.ShortTexts.Length)])];
                StellaPrompt prompt = random.Next(2) == 0 ? StellaPrompt.SearchQuery : StellaPrompt.SentenceSimilarity;
                using var lost = new CancellationTokenSource(AnswerTimeout);
                Answer<StellaEmbeddings> answer = await context.Ledger.CallAsync(() => pool.EmbedAsync(
                    Array.ConvertAll(indices, index => known.Texts[index]), new StellaEmbedOptions { Prompt = prompt }, null, lost.Token)).ConfigureAwait(false);
                if (answer.Value is not { } found)
                {
                    context.Ledger.AddUnserved(
                        answer.Outcome == Outcomes.Cancelled ? $"A call of {indices.Length} texts had no answer within {AnswerTimeout.TotalSeconds} s." : answer.Outcome,
                        answer.Outcome == Outcomes.Cancelled ? null : answer.Error);
                    continue;
                }

                int wrong = Enumerable.Range(0, indices.Length).Count(i => !known.IsExpected(indices[i], prompt, known.DefaultDimension, found[i].Span));
                context.Ledger.AddVectors(indices.Length, found.Summary.TokenCount, 0, wrong, null);
                _ = Interlocked.Add(ref tokens, found.Summary.TokenCount);
                _ = Interlocked.Add(ref texts, indices.Length);
            }
        }
    }
}
