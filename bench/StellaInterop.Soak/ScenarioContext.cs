using System.Collections.Concurrent;
using System.Diagnostics;
using StellaInterop.Pooling;
using StellaInterop.Soak.Memory;

namespace StellaInterop.Soak;

/// <summary>Plays a scenario against pools of its own.</summary>
internal interface IScript
{
    Task RunAsync(ScenarioContext context);
}

/// <summary>Everything that a script needs: the model, the texts, the ledger, the time, and a place for broken promises and figures.</summary>
internal sealed class ScenarioContext(
    string folder, StellaModelOptions modelOptions, KnownTexts known, CallLedger ledger, TimeSpan duration, int seed, Defect defect)
{
    /// <summary>Parts of a scenario, with a look at the memory after each.</summary>
    private const int Rounds = 30;

    private static readonly TimeSpan LongRun = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan Settling = TimeSpan.FromMilliseconds(50);

    private readonly Lock gate = new();
    private readonly List<string> broken = [];
    private readonly ConcurrentBag<IPoolSession> leaked = [];
    private readonly List<string> figures = [];

    public string Folder => folder;

    public StellaModelOptions ModelOptions => modelOptions;

    public KnownTexts Known => known;

    public CallLedger CallLedger => ledger;

    public TimeSpan Duration => duration;

    /// <summary>Gets whether the run is long enough to say something about times. A check of a change is not.</summary>
    public bool MeasuresTimes => duration >= LongRun;

    public int Seed => seed;

    public Defect Defect => defect;

    public Stopwatch Clock { get; } = Stopwatch.StartNew();

    public CallGate Gate { get; } = new();

    public MemoryTrend Memory { get; } = new();

    /// <summary>Whether the meter counts more calls than callers made, because each part of a stream is a call.</summary>
    public bool HasStreams { get; set; }

    public IReadOnlyList<string> Broken
    {
        get
        {
            lock (gate)
            {
                return [.. broken];
            }
        }
    }

    /// <summary>Gets the figures that the scenario measured, for people.</summary>
    public IReadOnlyList<string> Figures => figures;

    /// <summary>Adds a broken promise unless the promise was kept.</summary>
    /// <returns>Whether it was kept.</returns>
    public bool Promise(bool kept, string otherwise)
    {
        lock (gate)
        {
            // A promise that is broken again and again would hide the others.
            if (!kept && !broken.Contains(otherwise) && broken.Count < 20)
            {
                broken.Add(otherwise);
            }
        }

        return kept;
    }

    /// <summary>Adds a figure.</summary>
    public void Report(string figure) => figures.Add(figure);

    /// <summary>Makes the options that all pools of scenarios share.</summary>
    public StellaPoolOptions Options() => new()
    {
        Model = modelOptions,
        MeterFactory = ledger,
        IdleTimeout = TimeSpan.FromSeconds(2),
    };

    /// <summary>Makes the folder's model, with faults and the planted defect.</summary>
    public FaultyModel Model(Faults? faults = null, string? from = null, Action? beforeLoad = null, Action<int, double>? forwarded = null) =>
        new(new StellaModelSource(from ?? folder, modelOptions), faults ?? new Faults(), defect, leaked, seed)
        {
            BeforeLoad = beforeLoad ?? (static () => { }),
            Forwarded = forwarded ?? (static (_, _) => { }),
        };

    /// <summary>Frees the sessions that a planted defect kept, so that no later scenario sees them.</summary>
    public void FreeLeaked()
    {
        while (leaked.TryTake(out IPoolSession? session))
        {
            session.Dispose();
        }
    }

    /// <summary>Measures the memory of the process. Nothing may be in flight.</summary>
    public void SampleMemory() => Memory.Add(MemorySample.Take(Clock.Elapsed.TotalSeconds));

    /// <summary>Plays rounds until the time is over, and looks at the memory after each.</summary>
    /// <param name="least">The shortest time of a round.</param>
    /// <param name="round">Plays one round, by its number and the time of its end.</param>
    /// <param name="minRounds">Rounds that a short run needs for its promise.</param>
    public async Task RoundsAsync(TimeSpan least, Func<int, TimeSpan, Task> round, int minRounds = 1)
    {
        TimeSpan length = duration / Rounds > least ? duration / Rounds : least;
        for (int i = 0; i < minRounds || Clock.Elapsed + (length / 2) < duration; i++)
        {
            await round(i, Clock.Elapsed + length).ConfigureAwait(false);

            // Continuations of answered calls still hold their vectors for a moment.
            await Task.Delay(Settling, CancellationToken.None).ConfigureAwait(false);
            SampleMemory();
        }
    }

    /// <summary>Waits until something is so.</summary>
    /// <returns>Whether it was so in time.</returns>
    public static async Task<bool> EventuallyAsync(Func<bool> condition, TimeSpan timeout)
    {
        long begin = Stopwatch.GetTimestamp();
        while (!condition())
        {
            if (Stopwatch.GetElapsedTime(begin) > timeout)
            {
                return condition();
            }

            await Task.Delay(2).ConfigureAwait(false);
        }

        return true;
    }

    /// <summary>Disposes a pool; an error or a wait of a minute breaks the promise.</summary>
    public async Task DisposeAsync(StellaEmbeddingPool pool, bool atOnce = false)
    {
        try
        {
            Task disposed = atOnce ? Task.Run(pool.Dispose) : pool.DisposeAsync().AsTask();
            await disposed.WaitAsync(TimeSpan.FromMinutes(1)).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // Whatever it throws, a pool that cannot be disposed breaks the promise.
        catch (Exception e)
#pragma warning restore CA1031
        {
            Promise(false, $"the pool could not be disposed: {e.GetType().Name}: {e.Message}");
        }
    }
}
