using StellaInterop.Bulk.Commit;

namespace StellaInterop.Chaos.Nodes;

/// <summary>Names the safeguards that a run can switch off.</summary>
internal static class SafeguardNames
{
    public static IReadOnlyDictionary<string, Safeguards> All { get; } = new Dictionary<string, Safeguards>
    {
        ["put-if-absent"] = Safeguards.PutIfAbsent,
        ["epoch"] = Safeguards.Epoch,
        ["attempt-count"] = Safeguards.AttemptCount,
        ["flush-order"] = Safeguards.FlushOrder,
        ["fingerprint"] = Safeguards.Fingerprint,
    };

    /// <summary>Returns the safeguard with a name.</summary>
    /// <param name="name">The name; <see langword="null"/> for no safeguard.</param>
    public static Safeguards Of(string? name) => name is null ? Safeguards.None : All[name];
}
