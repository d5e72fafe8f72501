using System.Text.Json;
using StellaInterop.Models.Mini;

namespace StellaInterop.Load.Overload;

/// <summary>A defect that is planted in a run, to prove that a check can fail.</summary>
/// <param name="Name">Name in the output.</param>
/// <param name="Finding">The check that must fail; <see langword="null"/> if none may.</param>
internal sealed record Defect(string Name, string? Finding)
{
    public static Defect None { get; } = new("none", null);

    public static IReadOnlyList<Defect> All { get; } =
    [
        new("the server is killed", Verdict.Answered) { KillAt = 0.6 },
        new("one refusal in a hundred has no retry header", Verdict.Kept) { Change = (outcome, i) => i % 100 == 0 ? outcome with { HasRetryHeaders = false } : outcome },
        new("one refusal in twenty takes 50 ms longer", Verdict.RefusalTime)
        {
            Change = (outcome, i) => i % 20 == 0 ? outcome with { RefusalMilliseconds = outcome.RefusalMilliseconds + 50 } : outcome,
        },
        new("a cache without a sensible limit", Verdict.Memory) { CacheBytes = 4L << 30 },
        new("the interactive texts come from the bulk key", Verdict.InteractiveKept) { HasInteractiveKey = false },
    ];

    /// <summary>Gets the part of the load after which the server is killed.</summary>
    public double? KillAt { get; init; }

    /// <summary>Gets whether the interactive texts have a key of their own.</summary>
    public bool HasInteractiveKey { get; init; } = true;

    /// <summary>Gets the cache of the pool, which grows with each text.</summary>
    public long? CacheBytes { get; init; }

    /// <summary>Changes the n-th outcome that a client records.</summary>
    public Func<Outcome, int, Outcome> Change { get; init; } = (outcome, _) => outcome;

    /// <summary>Returns the configuration of the server.</summary>
    /// <param name="model">The model folder; <see langword="null"/> for the shipped model.</param>
    public string Configuration(string? model) => JsonSerializer.Serialize(new
    {
        Server = new { Models = new[] { new { Name = "model", Path = model ?? StellaMiniModel.Path, Pool = new { MaxCacheBytes = CacheBytes ?? 0 } } } },
    });
}
