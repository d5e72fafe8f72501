using System.Globalization;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak.Scripts;

/// <summary>
/// Replaces the weights in the folder with those of another model, between two loads and while the model is open. Every vector must
/// belong to the files of its load, regardless of the cache. A call for a head that was replaced while the model is open may end with a
/// typed error.
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
            return KnownTexts.CreateSmallSet(copy.Path, context.ModelOptions, StellaPrompt.Document);
        })];
        int otherHead = known[0].Dimensions.First(dimension => dimension != known[0].DefaultDimension);
        int folderGeneration = Generations - 1;
        int loads = 0;
        int typedErrors = 0;

        // No load starts while callers are active, so that each caller knows the generation of its load.
        int loadedGeneration = folderGeneration;
        FaultyModel source = context.Model(modelFolder: copy.Path, beforeLoad: () =>
        {
            Volatile.Write(ref loadedGeneration, Volatile.Read(ref folderGeneration));
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
            // Even rounds replace the files while the model is unloaded, odd rounds while it is open.
            bool isOpen = round % 2 == 1;
            if (!isOpen)
            {
                Replace();
            }

            using var stop = new CancellationTokenSource();
            Task[] callers = [.. Enumerable.Range(0, Callers).Select(i => Task.Run(() => CallAsync(known[0].DefaultDimension, new Random(context.Seed + (100 * round) + i), stop.Token)))];
            _ = await ScenarioContext.EventuallyAsync(() => pool.GetHealth().ModelState == StellaPoolModelState.Loaded, UnloadLimit).ConfigureAwait(false);
            if (isOpen)
            {
                Replace();
            }

            // Even and odd rounds ask the other head for different texts, so that the cache has no vectors for an odd round.
            await CallAsync(otherHead, new Random(round), null, first: round % 2).ConfigureAwait(false);
            TimeSpan left = until - context.Clock.Elapsed - IdleTimeout;
            await Task.Delay(left > TimeSpan.Zero ? left : TimeSpan.Zero, CancellationToken.None).ConfigureAwait(false);
            await stop.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(callers).ConfigureAwait(false);
            bool unloaded = await ScenarioContext.EventuallyAsync(() => pool.GetHealth().ModelState == StellaPoolModelState.Unloaded, UnloadLimit).ConfigureAwait(false);
            context.Promise(unloaded, $"An idle model was not unloaded within {UnloadLimit.TotalSeconds} s.");
        },
        minRounds: 2).ConfigureAwait(false);

        // The vectors of one more replacement and load must belong to the new files as well.
        Replace();
        await CallAsync(known[0].DefaultDimension, new Random(context.Seed), null).ConfigureAwait(false);
        await context.DisposeAsync(pool).ConfigureAwait(false);
        context.Promise(loads > 1, "The model was loaded only once.");
        context.Report(string.Create(CultureInfo.InvariantCulture, $"{loads} loads of {Generations} models in turn; {typedErrors} calls ended with {nameof(StellaErrorCode.ModelFileInvalid)}"));

        void Replace()
        {
            int next = (Volatile.Read(ref folderGeneration) + 1) % Generations;
            copy.Replace(next);
            Volatile.Write(ref folderGeneration, next);
        }

        // Calls with every second text once, or with random texts until it is stopped.
        async Task CallAsync(int dimension, Random random, CancellationToken? stop, int first = 0)
        {
            for (int i = first; stop is { } stopped ? !stopped.IsCancellationRequested : i < known[0].Texts.Length; i += 2)
            {
                int text = stop is null ? i : random.Next(known[0].Texts.Length);
                var embed = new StellaEmbedOptions { Dimension = dimension };
                Answer<float[]> answer = await context.Ledger.CallAsync(
                    () => pool.EmbedAsync(known[0].Texts[text], embed, new StellaCallOptions { Timeout = Caller.LongTimeout }), IsChanged).ConfigureAwait(false);
                int generation = Volatile.Read(ref loadedGeneration);
                await Task.Delay(stop is null ? TimeSpan.Zero : Pause).ConfigureAwait(false);
                if (answer.Value is { } vector)
                {
                    bool isExpected = known[generation].IsExpected(text, StellaPrompt.Document, dimension, vector);
                    bool isOtherGeneration = known.Any(texts => texts.IsExpected(text, StellaPrompt.Document, dimension, vector));
                    context.Promise(isExpected, $"A vector of dimension {dimension} belongs to {(isOtherGeneration ? "other files than those of its load" : "no generation of files, but to a mix of two")}.");
                    context.Ledger.AddVectors(1, 0, 0, isExpected ? 0 : 1, answer.Seconds);
                }
                else if (answer.Error is StellaException error && IsChanged(error) && dimension == otherHead)
                {
                    _ = Interlocked.Increment(ref typedErrors);
                }
                else
                {
                    context.Ledger.AddUnserved(answer.Outcome, answer.Error);
                }
            }
        }
    }

    /// <summary>Returns whether a call ended because a file changed while the model was open, or because the circuit breaker of that head is open.</summary>
    private static bool IsChanged(StellaException error) =>
        error.Code is StellaErrorCode.ModelFileInvalid or StellaErrorCode.CircuitOpen
        || (error.InnerException is StellaException cause && IsChanged(cause));
}
