namespace StellaInterop.Scale.Workers;

/// <summary>Represents the size and the losses of a simulation.</summary>
internal sealed record SimulationOptions
{
    /// <summary>The number of chunks from which the throughput is judged. In shorter runs, start and end take too much of the time.</summary>
    public const int FullChunkCount = 20_000;

    /// <summary>The smallest share of the ceiling that a run of full size reaches.</summary>
    public const double LeastShare = 0.95;

    public required int ChunkCount { get; init; }

    public required int WorkerCount { get; init; }

    public required int SiloCount { get; init; }

    /// <summary>Gets the mean time of the work on a chunk.</summary>
    public required TimeSpan WorkTime { get; init; }

    /// <summary>Gets the time from one lost worker to the next.</summary>
    public required TimeSpan LossTime { get; init; }

    /// <summary>Gets the time after which a lost worker comes back as another node.</summary>
    public required TimeSpan ReturnTime { get; init; }

    public required int Seed { get; init; }

    public bool IsFull => ChunkCount >= FullChunkCount;
}
