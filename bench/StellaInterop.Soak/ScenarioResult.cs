using StellaInterop.Soak.Calls;
using StellaInterop.Soak.Memory;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak;

/// <summary>The outcome of a scenario.</summary>
/// <param name="Scenario">The scenario.</param>
/// <param name="Seconds">Duration of the scenario.</param>
/// <param name="Ledger">Calls and their answers.</param>
/// <param name="Growth">The kind of memory that grew fastest; <see langword="null"/> if there are too few samples.</param>
/// <param name="Samples">Samples of the memory.</param>
/// <param name="Figures">Measured figures for the table.</param>
/// <param name="Broken">Messages of broken promises.</param>
internal sealed record ScenarioResult(
    Scenario Scenario,
    double Seconds,
    CallLedger Ledger,
    MemoryGrowth? Growth,
    IReadOnlyList<MemorySample> Samples,
    IReadOnlyList<string> Figures,
    IReadOnlyList<string> Broken)
{
    public double TokensPerSecond => Ledger.Tokens / Seconds;
}
