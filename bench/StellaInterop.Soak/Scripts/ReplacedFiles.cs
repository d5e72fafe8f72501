using System.Globalization;
using StellaInterop.Pooling;

namespace StellaInterop.Soak.Scripts;

/// <summary>
/// The folder's weights are replaced by those of another model, between two loads and under an open model. Every vector is that of the
/// files of its load, whatever the cache holds; a head that changed under an open model may be a typed error.
/// </summary>
internal sealed class ReplacedFiles : IScript
{
    private const int Generations = 3;
    private const int Callers = 4;

    private static readonly TimeSpan IdleTimeout = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(2);
    private static readonly TimeSpan UnloadLimit = TimeSpan.FromSeconds(20);

    public async Task RunAsync(ScenarioContext context)
    {
        using var copy = new ModelCopy(context.Folder);
        KnownTexts[] known = [.. Enumerable.Range(0, Generations).Select(generation =>
        {
            copy.Replace(generation);
            return KnownTexts.Few(copy.Path, context.ModelOptions, StellaPrompt.Document);
        })];
        int otherHead = known[0].Dimensions.First(dimension => dimension != known[0].DefaultDimension);
        int inFolder = Generations - 1;
        int loads = 0;
        int typed = 0;

        // Loads and their callers are kept apart, so that each caller knows the generation of its load.
        int loaded = inFolder;
        FaultyModel source = context.Model(from: copy.Path, beforeLoad: () =>
        {
            Volatile.Write(ref loaded, Volatile.Read(ref inFolder));
            _ = Interlocked.Increment(ref loads);
        });
        var pool = new StellaEmbeddingPool(source, context.Options() with
        {
            MinWorkers = 0,
            IdleTimeout = IdleTimeout,
            MaxCacheBytes = 16 << 20,
        });
        await context.RoundsAsync(MinRound, async (round, until) =>
        {
            // Even rounds replace the files while the model is unloaded, odd ones under the open model.
            bool isOpen = round % 2 == 1;
            if (!isOpen)
            {
                Replace();
            }

            using var stop = new CancellationTokenSource();
            Task[] callers = [.. Enumerable.Range(0, Callers).Select(i => Task.Run(() => AskAsync(known[0].DefaultDimension, new Random(context.Seed + (100 * round) + i), stop.Token)))];
            _ = await ScenarioContext.EventuallyAsync(() => pool.GetHealth().ModelState == StellaPoolModelState.Loaded, UnloadLimit).ConfigureAwait(false);
            if (isOpen)
            {
                Replace();
            }

            // Even and odd rounds ask the other head for different texts, so that the cache has no vector of its own for an odd round.
            await AskAsync(otherHead, new Random(round), null, first: round % 2).ConfigureAwait(false);
            TimeSpan left = until - context.Clock.Elapsed - IdleTimeout;
            await Task.Delay(left > TimeSpan.Zero ? left : TimeSpan.Zero, CancellationToken.None).ConfigureAwait(false);
            await stop.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(callers).ConfigureAwait(false);
            bool unloaded = await ScenarioContext.EventuallyAsync(() => pool.GetHealth().ModelState == StellaPoolModelState.Unloaded, UnloadLimit).ConfigureAwait(false);
            context.Promise(unloaded, "an idle model was not unloaded");
        },
        minRounds: 2).ConfigureAwait(false);

        // The files of a last load must hold as well in a run of one round.
        Replace();
        await AskAsync(known[0].DefaultDimension, new Random(context.Seed), null).ConfigureAwait(false);
        await context.DisposeAsync(pool).ConfigureAwait(false);
        context.Promise(loads > 1, "the model was loaded once only");
        context.Report(string.Create(CultureInfo.InvariantCulture, $"{loads} loads of {Generations} models in turn; {typed} calls ended with {nameof(StellaErrorCode.ModelFileInvalid)}"));

        void Replace()
        {
            int next = (Volatile.Read(ref inFolder) + 1) % Generations;
            copy.Replace(next);
            Volatile.Write(ref inFolder, next);
        }

        // Asks for every second text once, or for any texts until it is stopped.
        async Task AskAsync(int dimension, Random random, CancellationToken? stop, int first = 0)
        {
            for (int i = first; stop is { } stopped ? !stopped.IsCancellationRequested : i < known[0].Texts.Length; i += 2)
            {
                int text = stop is null ? i : random.Next(known[0].Texts.Length);
                var embed = new StellaEmbedOptions { Dimension = dimension };
                Answer<float[]> answer = await context.Ledger.CallAsync(
                    () => pool.EmbedAsync(known[0].Texts[text], embed, new StellaCallOptions { Timeout = Caller.LongTimeout }), IsChanged).ConfigureAwait(false);
                int generation = Volatile.Read(ref loaded);
                await Task.Delay(stop is null ? TimeSpan.Zero : Pause).ConfigureAwait(false);
                if (answer.Value is { } vector)
                {
                    bool right = known[generation].IsExpected(text, StellaPrompt.Document, dimension, vector);
                    bool other = known.Any(one => one.IsExpected(text, StellaPrompt.Document, dimension, vector));
                    context.Promise(right, $"a vector of dimension {dimension} is {(other ? "that of files which are not those of the load" : "that of no model: a mix of two")}");
                    context.Ledger.Vectors(1, 0, 0, right ? 0 : 1, answer.Seconds);
                }
                else if (answer.Error is StellaException error && IsChanged(error) && dimension == otherHead)
                {
                    _ = Interlocked.Increment(ref typed);
                }
                else
                {
                    context.Ledger.AddUnserved(answer.Outcome, answer.Error);
                }
            }
        }
    }

    /// <summary>Tells whether a call ended because a file changed under the open model, or because the breaker of that head is open.</summary>
    private static bool IsChanged(StellaException error) =>
        error.Code is StellaErrorCode.ModelFileInvalid or StellaErrorCode.CircuitOpen
        || (error.InnerException is StellaException cause && IsChanged(cause));
}
