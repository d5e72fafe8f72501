using System.Globalization;

namespace StellaInterop.Soak.Scripts;

/// <summary>Callers refill their texts and their destination memory after their calls began; the cache is on.</summary>
internal sealed class RefilledBuffers : IScript
{
    private const int HonestCallers = 4;

    /// <summary>Texts of a call, and words of each: more than a call may queue at once, so that most texts wait after they were tokenized.</summary>
    private const int RefillTexts = 40;
    private const int RefillWords = 40;

    /// <summary>Room for fewer vectors than there are texts, so that entries come and go and each text is computed again and again.</summary>
    private const long CacheBytes = 384 << 10;

    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);

    /// <summary>The forms in which a caller passes texts.</summary>
    private enum Form
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
                .. Enumerable.Range(0, HonestCallers).Select(i => Task.Run(() => new Caller(
                    new Traffic { Texts = 2, MustComplete = true }, context.Known, context.Ledger, () => pool, context.Gate, context.Seed + (100 * round) + i)
                    .RunAsync(context.Clock, until))),
                .. Enum.GetValues<Form>().Select(form => Task.Run(() => RefillAsync(form, new Random(context.Seed + (100 * round) + (int)form), until))),
            ];
            await Task.WhenAll(callers).ConfigureAwait(false);
        }).ConfigureAwait(false);

        await context.DisposeAsync(pool).ConfigureAwait(false);
        context.Promise(refills > 0, "no buffer was refilled");
        context.Report(string.Create(CultureInfo.InvariantCulture, $"{refills} buffers refilled under their calls"));

        async Task RefillAsync(Form form, Random random, TimeSpan until)
        {
            string[] texts = new string[RefillTexts];
            float[] destination = new float[RefillTexts * context.Known.DefaultDimension];
            var counts = new StellaTokenCount[RefillTexts];
            var options = new StellaCallOptions { Timeout = Caller.LongTimeout };
            for (int call = 0; context.Clock.Elapsed < until; call++)
            {
                for (int i = 0; i < texts.Length; i++)
                {
                    texts[i] = string.Create(CultureInfo.InvariantCulture, $"{call} {form} {i}{string.Concat(Enumerable.Repeat(" filler", RefillWords))}");
                }

                var list = new List<string>(texts);
                Task<Answer<bool>> answer = context.Ledger.CallAsync(async () =>
                {
                    switch (form)
                    {
                        case Form.Array:
                            _ = await pool.EmbedAsync(texts, null, options).ConfigureAwait(false);
                            break;
                        case Form.List:
                            _ = await pool.EmbedAsync(list, null, options).ConfigureAwait(false);
                            break;
                        default:
                            _ = await pool.EmbedAsync(texts, destination, counts, null, options).ConfigureAwait(false);
                            break;
                    }

                    return true;
                });

                // Texts of honest callers take the places one after the other, until the call has its answer.
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

                Answer<bool> got = await answer.ConfigureAwait(false);
                if (!got.IsCompleted)
                {
                    context.Ledger.AddUnserved(got.Outcome, got.Error);
                }

                _ = Interlocked.Increment(ref refills);
            }
        }
    }
}
