using System.Diagnostics;
using StellaInterop.Scale.Workers;

namespace StellaInterop.Scale.Reporting;

/// <summary>Compares the time in which workers lived with the work that they did, from their start to the last part.</summary>
internal sealed class Throughput
{
    private readonly double[] starting;
    private readonly double[] lost;

    /// <param name="lives">The lives of all workers.</param>
    /// <param name="chunkCount">The chunks of the job.</param>
    /// <param name="workTime">The mean time of the work on a chunk.</param>
    /// <param name="start">When the workers were started, as a timestamp.</param>
    /// <param name="lastFreshLease">When a worker got the last chunk that nobody had before, as a timestamp.</param>
    /// <param name="end">When the last part was reported, as a timestamp.</param>
    public Throughput(IReadOnlyList<WorkerLife> lives, int chunkCount, TimeSpan workTime, long start, long lastFreshLease, long end)
    {
        long tail = Math.Clamp(lastFreshLease, start, end);
        Seconds = Stopwatch.GetElapsedTime(start, end).TotalSeconds;
        TailSeconds = Stopwatch.GetElapsedTime(tail, end).TotalSeconds;
        LivingSeconds = lives.Sum(life => Clip(life.Start, life.End ?? end, start, end));
        ChunksPerSecond = chunkCount / Seconds;
        CeilingPerSecond = LivingSeconds / workTime.TotalSeconds / Seconds;

        WorkInterval[] work = [.. lives.SelectMany(life => life.Work)];
        DoneWorkCount = work.Count(interval => interval.IsDone);
        double done = work.Where(interval => interval.IsDone).Sum(interval => Clip(interval.Start, interval.End, start, end));
        lost = [.. work.Where(interval => !interval.IsDone).Select(interval => Clip(interval.Start, interval.End, start, end))];
        starting = [.. lives.Select(life => Clip(life.Start, life.Work.Count == 0 ? life.End ?? end : life.Work.Min(interval => interval.Start), start, tail))];
        double livingInTail = lives.Sum(life => Clip(life.Start, life.End ?? end, tail, end));
        double waitingInTail = livingInTail - work.Sum(interval => Clip(interval.Start, interval.End, tail, end));
        DoneShare = done / LivingSeconds;
        LostShare = lost.Sum() / LivingSeconds;
        StartShare = starting.Sum() / LivingSeconds;
        TailShare = waitingInTail / LivingSeconds;
        MeanWorkSeconds = done / DoneWorkCount;
    }

    public double Seconds { get; }

    /// <summary>Gets the time from the last chunk that nobody had before to the end.</summary>
    public double TailSeconds { get; }

    /// <summary>Gets the seconds in which workers lived, all together.</summary>
    public double LivingSeconds { get; }

    public double ChunksPerSecond { get; }

    /// <summary>Gets the chunks in a second of workers that compute as long as they live, and never in vain.</summary>
    public double CeilingPerSecond { get; }

    public double Ratio => ChunksPerSecond / CeilingPerSecond;

    /// <summary>Gets the number of times that a chunk was computed to its end. A chunk may have been computed twice.</summary>
    public int DoneWorkCount { get; }

    /// <summary>Gets the time that the work on a chunk took, with the delays of a busy machine.</summary>
    public double MeanWorkSeconds { get; }

    /// <summary>Gets the share of the living time in which chunks were computed to their end.</summary>
    public double DoneShare { get; }

    /// <summary>Gets the share of work that was lost with its worker.</summary>
    public double LostShare { get; }

    /// <summary>Gets the share from the start of a worker to its first work.</summary>
    public double StartShare { get; }

    /// <summary>Gets the share without work after the last chunk that nobody had before.</summary>
    public double TailShare { get; }

    /// <summary>Gets the share without work at any other time.</summary>
    public double WaitShare => 1 - DoneShare - LostShare - StartShare - TailShare;

    /// <summary>Gets the time from the start of a worker to its first work, on average.</summary>
    public double MeanStartSeconds => starting.Average();

    /// <summary>Gets the seconds from one timestamp to another that are between two others.</summary>
    private static double Clip(long from, long to, long start, long end) =>
        Math.Max(0, Stopwatch.GetElapsedTime(Math.Max(from, start), Math.Min(to, end)).TotalSeconds);
}
