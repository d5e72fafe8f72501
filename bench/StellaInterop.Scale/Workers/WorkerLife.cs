using System.Diagnostics;

namespace StellaInterop.Scale.Workers;

/// <summary>Represents simulated work on a chunk, between two timestamps.</summary>
/// <param name="Start">The start.</param>
/// <param name="End">The end.</param>
/// <param name="IsDone">Whether it was completed; otherwise the worker was lost meanwhile.</param>
internal readonly record struct WorkInterval(long Start, long End, bool IsDone);

/// <summary>Records when a worker lived and when it worked. Thread-safe.</summary>
internal sealed class WorkerLife
{
    private readonly Lock gate = new();
    private readonly List<WorkInterval> work = [];

    /// <summary>Gets the timestamp of its start.</summary>
    public long Start { get; } = Stopwatch.GetTimestamp();

    /// <summary>Gets the timestamp of its end; <see langword="null"/> while it lives.</summary>
    public long? End { get; private set; }

    public IReadOnlyList<WorkInterval> Work
    {
        get
        {
            lock (gate)
            {
                return [.. work];
            }
        }
    }

    public void Worked(WorkInterval interval)
    {
        lock (gate)
        {
            work.Add(interval);
        }
    }

    public void Finish() => End = Stopwatch.GetTimestamp();
}
