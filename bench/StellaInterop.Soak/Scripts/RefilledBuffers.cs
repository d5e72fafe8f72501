using System.Globalization;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak.Scripts;

/// <summary>Overwrites the texts and the destination memory of calls in flight, with the cache on.</summary>
internal sealed class RefilledBuffers : IScript
{
    private const int OtherCallers = 4;

    /// <summary>Texts of a call, and words of each text. A call may not queue all of them at once, so that most texts wait after tokenization.</summary>
    private const int RefillTexts = 40;
    private const int RefillWords = 40;

    /// <summary>Size of the cache. It holds fewer vectors than there are texts, so that entries are evicted and texts are computed repeatedly.</summary>
    private const long CacheBytes = 384 << 10;

    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);

    /// <summary>The types in which a caller passes texts.</summary>
    private enum TextsType
    {
        Array,
        List,
        Memory,
    }

    public async Task RunAsync(ScenarioContext context)
    {
        int refills = 0;
        var pool = new StellaEmbeddingPool(context.Model(), context.Options() with { MaxCacheBytes = CacheBytes });
        await context.RoundsAsync(MinRound, async (round, until) =>
        {
            Task[] callers =
            [
                .. Enumerable.Range(0, OtherCallers).Select(i => Task.Run(() => new Caller(
                    new Traffic { Texts = 2, MustComplete = true }, context.Known, context.Ledger, () => pool, context.Gate, context.Seed + (100 * round) + i)
                    .RunAsync(context.Clock, until))),
                .. Enum.GetValues<TextsType>().Select(type => Task.Run(() => RefillAsync(type, new Random(context.Seed + (100 * round) + (int)type), until))),
            ];
            await Task.WhenAll(callers).ConfigureAwait(false);
        }).ConfigureAwait(false);

        await context.DisposeAsync(pool).ConfigureAwait(false);
        context.Promise(refills > 0, "No buffer was overwritten.");
        context.Report(string.Create(CultureInfo.InvariantCulture, $"{refills} buffers overwritten during their calls"));

        async Task RefillAsync(TextsType type, Random random, TimeSpan until)
        {
            string[] texts = new string[RefillTexts];
            float[] destination = new float[RefillTexts * context.Known.DefaultDimension];
            var counts = new StellaTokenCount[RefillTexts];
            var options = new StellaCallOptions { Timeout = Caller.LongTimeout };
            for (int call = 0; context.Clock.Elapsed < until; call++)
            {
                for (int i = 0; i < texts.Length; i++)
                {
                    texts[i] = string.Create(CultureInfo.InvariantCulture, $"{call} {type} {i}{string.Concat(Enumerable.Repeat(" filler", RefillWords))}");
                }

                var list = new List<string>(texts);
                Task<Answer<bool>> answer = context.Ledger.CallAsync(async () =>
                {
                    switch (type)
                    {
                        case TextsType.Array:
                            _ = await pool.EmbedAsync(texts, null, options).ConfigureAwait(false);
                            break;
                        case TextsType.List:
                            _ = await pool.EmbedAsync(list, null, options).ConfigureAwait(false);
                            break;
                        default:
                            _ = await pool.EmbedAsync(texts, destination, counts, null, options).ConfigureAwait(false);
                            break;
                    }

                    return true;
                });

                // Overwrites one element after the other with texts of the other callers, until the call has its answer.
                for (int i = 0; !answer.IsCompleted; i = (i + 1) % texts.Length)
                {
                    texts[i] = list[i] = context.Known.Texts[random.Next(context.Known.Texts.Length)];
                    destination[i * context.Known.DefaultDimension] = float.NaN;
                    counts[i] = default;
                    if (i % 16 == 0)
                    {
                        await Task.Delay(1).ConfigureAwait(false);
                    }
                }

                Answer<bool> result = await answer.ConfigureAwait(false);
                if (!result.IsCompleted)
                {
                    context.Ledger.AddUnserved(result.Outcome, result.Error);
                }

                _ = Interlocked.Increment(ref refills);
            }
        }
    }
}
