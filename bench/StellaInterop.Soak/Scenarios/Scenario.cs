using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;

namespace StellaInterop.Soak.Scenarios;

/// <summary>A load on a pool, and the promise that the pool must keep under it.</summary>
/// <param name="Name">Name on the command line and in the table.</param>
/// <param name="Load">Short description of the load.</param>
/// <param name="Share">Weight of its share of the time, relative to the other scenarios.</param>
/// <param name="Callers">Number of concurrent callers.</param>
/// <param name="Traffic">The calls that each caller makes.</param>
/// <param name="Pool">Changes the default options of the pool.</param>
internal sealed record Scenario(
    string Name, string Load, int Share, int Callers, Traffic Traffic, Func<StellaPoolOptions, StellaPoolOptions> Pool)
{
    private const string DefaultPromise = "every call has one right answer; the queue keeps its limits; nothing leaks";

    /// <summary>Gets the promise that this scenario checks in addition to those of all scenarios.</summary>
    public string Promise { get; init; } = DefaultPromise;

    /// <summary>Gets the factory of the script; <see langword="null"/> for a scenario of concurrent callers only.</summary>
    public Func<IScript>? Script { get; init; }

    /// <summary>Gets the faults that the model injects.</summary>
    public Faults Faults { get; init; } = new();

    /// <summary>Gets the seconds after which the pool is drained and replaced; 0 for never.</summary>
    public double RecreateEvery { get; init; }

    /// <summary>Gets whether the memory budget has room for the model and one worker only.</summary>
    public bool HasTightMemory { get; init; }

    /// <summary>Gets the number of texts in each call of an additional bulk caller; 0 for no such caller.</summary>
    public int BulkTexts { get; init; }
}
