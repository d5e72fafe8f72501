namespace StellaInterop.Soak.FaultInjection;

/// <summary>Faults that a model injects at random. A value of N makes one forward pass or text in N fail on average; 0 injects nothing.</summary>
internal sealed record Faults
{
    public int PanicOneIn { get; init; }

    public int FaultyTextOneIn { get; init; }

    public int SlowOneIn { get; init; }

    public TimeSpan SlowFor { get; init; }

    /// <summary>Gets whether the texts of <see cref="Poison"/> fail.</summary>
    public bool Poisonous { get; init; }

    /// <summary>Gets the dimension of a head that fails; 0 for none.</summary>
    public int MissingHead { get; init; }
}
