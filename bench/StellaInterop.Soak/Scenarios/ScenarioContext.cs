using System.Collections.Concurrent;
using System.Diagnostics;
using StellaInterop.Serving;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Soak.Scenarios;

/// <summary>The context of a script: the model, the texts, the call ledger, the time, the broken promises and the figures.</summary>
internal sealed class ScenarioContext(
    string folder, StellaModelOptions modelOptions, KnownTexts known, CallLedger ledger, TimeSpan duration, int seed, Defect defect)
{
    /// <summary>Number of rounds in a scenario. The memory is sampled after each round.</summary>
    private const int Rounds = 30;

    private static readonly TimeSpan MinTimingDuration = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan SettleTime = TimeSpan.FromMilliseconds(50);

    private readonly Lock gate = new();
    private readonly List<string> broken = [];
    private readonly ConcurrentBag<IPoolSession> leaked = [];
    private readonly List<string> figures = [];

    public string Folder => folder;

    public StellaModelOptions ModelOptions => modelOptions;

    public KnownTexts Known => known;

    public CallLedger Ledger => ledger;

    public TimeSpan Duration => duration;

    /// <summary>Gets whether the run is long enough for promises about times. The short run in CI is not.</summary>
    public bool MeasuresTimes => duration >= MinTimingDuration;

    public int Seed => seed;

    public Defect Defect => defect;

    public Stopwatch Clock { get; } = Stopwatch.StartNew();

    public CallGate Gate { get; } = new();

    public MemoryTrend Memory { get; } = new();

    /// <summary>Gets or sets whether the meter counts more calls than the callers made, because each part of a stream is a call.</summary>
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

    /// <summary>Gets the figures that the scenario measured, for the table.</summary>
    public IReadOnlyList<string> Figures => figures;

    /// <summary>Adds the message of a broken promise, unless the promise was kept.</summary>
    /// <returns>Whether it was kept.</returns>
    public bool Promise(bool kept, string message)
    {
        lock (gate)
        {
            // Repeated messages of one promise would hide the others.
            if (!kept && !broken.Contains(message) && broken.Count < 20)
            {
                broken.Add(message);
            }
        }

        return kept;
    }

    /// <summary>Adds a figure.</summary>
    public void Report(string figure) => figures.Add(figure);

    /// <summary>Creates the default options of the pools in scenarios.</summary>
    public StellaPoolOptions Options() => new()
    {
        Model = modelOptions,
        MeterFactory = ledger,
        IdleTimeout = TimeSpan.FromSeconds(2),
    };

    /// <summary>Creates the source of the model, with faults and the planted defect.</summary>
    public FaultyModel Model(Faults? faults = null, string? modelFolder = null, Action? beforeLoad = null, Action<int, double>? forwarded = null) =>
        new(new StellaModelSource(modelFolder ?? folder, modelOptions), faults ?? new Faults(), defect, leaked, seed)
        {
            BeforeLoad = beforeLoad ?? (static () => { }),
            Forwarded = forwarded ?? (static (_, _) => { }),
        };

    /// <summary>Frees the sessions that a planted defect kept, so that they do not affect later scenarios.</summary>
    public void FreeLeaked()
    {
        while (leaked.TryTake(out IPoolSession? session))
        {
            session.Dispose();
        }
    }

    /// <summary>Takes a sample of the memory. No call may be in flight.</summary>
    public void SampleMemory() => Memory.Add(MemorySample.Take(Clock.Elapsed.TotalSeconds));

    /// <summary>Runs rounds until the time of the scenario is over, and samples the memory after each.</summary>
    /// <param name="minLength">Shortest time of a round.</param>
    /// <param name="round">Runs one round, given its number and the time of its end.</param>
    /// <param name="minRounds">Number of rounds that even a short run needs for its promise.</param>
    public async Task RoundsAsync(TimeSpan minLength, Func<int, TimeSpan, Task> round, int minRounds = 1)
    {
        TimeSpan length = duration / Rounds > minLength ? duration / Rounds : minLength;
        for (int i = 0; i < minRounds || Clock.Elapsed + (length / 2) < duration; i++)
        {
            await round(i, Clock.Elapsed + length).ConfigureAwait(false);

            // Continuations of answered calls reference their vectors for a moment.
            await Task.Delay(SettleTime, CancellationToken.None).ConfigureAwait(false);
            SampleMemory();
        }
    }

    /// <summary>Waits until a condition holds.</summary>
    /// <returns>Whether the condition held before the timeout.</returns>
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

    /// <summary>Disposes a pool. An error or a wait of more than a minute breaks a promise.</summary>
    public async Task DisposeAsync(StellaEmbeddingPool pool, bool isSynchronous = false)
    {
        try
        {
            Task disposed = isSynchronous ? Task.Run(pool.Dispose) : pool.DisposeAsync().AsTask();
            await disposed.WaitAsync(TimeSpan.FromMinutes(1)).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // Any error of Dispose breaks the promise.
        catch (Exception e)
#pragma warning restore CA1031
        {
            Promise(false, $"The pool could not be disposed: {e.GetType().Name}: {e.Message}");
        }
    }
}
