namespace StellaInterop.Soak.Memory;

/// <summary>Memory that is allocated step by step and kept until the scenario ends.</summary>
/// <param name="Kind">Kind of memory.</param>
/// <param name="BytesPerMinute">Rate of growth.</param>
/// <param name="Until">Fraction of the scenario after which growth stops: 1 for a leak, less for a plateau.</param>
internal sealed record PlantedLeak(LeakKind Kind, double BytesPerMinute, double Until = 1);
