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

    private static readonly TimeSpan LeastRound = TimeSpan.FromSeconds(1);

    /// <summary>The forms in which a caller passes texts.</summary>
    private enum Form
    {
        Array,
        List,
        Memory,
    }

    public async Task RunAsync(Stage stage)
    {
        int refills = 0;
        var pool = new StellaEmbeddingPool(stage.Model(), stage.Options() with { MaxCacheBytes = CacheBytes });
        await stage.RoundsAsync(LeastRound, async (round, until) =>
        {
            Task[] callers =
            [
                .. Enumerable.Range(0, HonestCallers).Select(i => Task.Run(() => new Caller(
                    new Traffic { Texts = 2, MustComplete = true }, stage.Known, stage.Books, () => pool, stage.Gate, stage.Seed + (100 * round) + i)
                    .RunAsync(stage.Clock, until))),
                .. Enum.GetValues<Form>().Select(form => Task.Run(() => RefillAsync(form, new Random(stage.Seed + (100 * round) + (int)form), until))),
            ];
            await Task.WhenAll(callers).ConfigureAwait(false);
        }).ConfigureAwait(false);

        await stage.DisposeAsync(pool).ConfigureAwait(false);
        stage.Promise(refills > 0, "no buffer was refilled");
        stage.Report(string.Create(CultureInfo.InvariantCulture, $"{refills} buffers refilled under their calls"));

        async Task RefillAsync(Form form, Random random, TimeSpan until)
        {
            string[] texts = new string[RefillTexts];
            float[] destination = new float[RefillTexts * stage.Known.DefaultDimension];
            var counts = new StellaTokenCount[RefillTexts];
            var options = new StellaCallOptions { Timeout = Caller.Patience };
            for (int call = 0; stage.Clock.Elapsed < until; call++)
            {
                for (int i = 0; i < texts.Length; i++)
                {
                    texts[i] = string.Create(CultureInfo.InvariantCulture, $"{call} {form} {i}{string.Concat(Enumerable.Repeat(" filler", RefillWords))}");
                }

                var list = new List<string>(texts);
                Task<Answer<bool>> answer = stage.Books.CallAsync(async () =>
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
                    texts[i] = list[i] = stage.Known.Texts[random.Next(stage.Known.Texts.Length)];
                    destination[i * stage.Known.DefaultDimension] = float.NaN;
                    counts[i] = default;
                    if (i % 16 == 0)
                    {
                        await Task.Delay(1).ConfigureAwait(false);
                    }
                }

                Answer<bool> got = await answer.ConfigureAwait(false);
                if (!got.IsCompleted)
                {
                    stage.Books.NotKept(got.Outcome, got.Error);
                }

                _ = Interlocked.Increment(ref refills);
            }
        }
    }
}
