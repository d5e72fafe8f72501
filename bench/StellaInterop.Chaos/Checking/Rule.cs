namespace StellaInterop.Chaos.Checking;

/// <summary>Represents a rule of a run, and how it was broken.</summary>
/// <param name="Name">The rule, as a statement.</param>
/// <param name="Violations">The findings that break the rule; empty if it holds.</param>
internal sealed record Rule(string Name, IReadOnlyList<string> Violations)
{
    /// <summary>The violations that are printed.</summary>
    private const int Shown = 5;

    public bool Holds => Violations.Count == 0;

    public override string ToString() => Holds
        ? $"holds   {Name}"
        : $"BROKEN  {Name}: {string.Join("; ", Violations.Take(Shown))}{(Violations.Count > Shown ? $"; and {Violations.Count - Shown} more" : "")}";
}
