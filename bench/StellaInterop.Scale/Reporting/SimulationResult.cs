using StellaInterop.Bench.Measuring;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Scale.Jobs;
using StellaInterop.Scale.Silos;
using StellaInterop.Scale.Workers;

namespace StellaInterop.Scale.Reporting;

/// <summary>Represents the memory of a simulation.</summary>
/// <param name="Job">The managed bytes that a coordinator adds to its silo.</param>
/// <param name="Silos">The process with the silos, before the job.</param>
/// <param name="WithJob">The process with the silos and the coordinator.</param>
/// <param name="WithWorkers">The process at the last part, with all workers.</param>
internal sealed record MemoryFigures(long Job, ResidentMemory Silos, ResidentMemory WithJob, ResidentMemory WithWorkers);

/// <summary>Represents what a simulation measured.</summary>
internal sealed record SimulationResult
{
    public required SimulationOptions Options { get; init; }

    public required Throughput Throughput { get; init; }

    public required int LossCount { get; init; }

    /// <summary>Gets the calls and bytes from the start of the workers to the last part.</summary>
    public required CallCounts Calls { get; init; }

    public required MemoryFigures Memory { get; init; }

    /// <summary>Gets the time in which one node made the plan.</summary>
    public required TimeSpan PlanTime { get; init; }

    /// <summary>Gets the time from the last part to the end of the job, in which one node checks all parts.</summary>
    public required TimeSpan CheckTime { get; init; }

    public required JobPhase Phase { get; init; }

    /// <summary>Gets the output; <see langword="null"/> until the workers have ended.</summary>
    public OutputFigures? Output { get; init; }

    /// <summary>Gets whether the output is right and, for a run of full size, the throughput too.</summary>
    public bool Holds => Phase == JobPhase.Complete && Output is { IsExact: true } && (!Options.IsFull || Throughput.Ratio >= SimulationOptions.LeastShare);
}
