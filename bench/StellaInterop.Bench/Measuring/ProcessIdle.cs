using System.Diagnostics;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Measuring;

/// <summary>
/// Waits until this process is idle. Thread pools spin for a while after a run (those of ONNX Runtime for 25 to 30 ms) and would
/// take the cores from the next engine.
/// </summary>
internal static class ProcessIdle
{
    private static readonly TimeSpan Window = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(2);

    /// <exception cref="BenchException">A thread of this process does not stop, so that a measurement would include its load.</exception>
    public static void Wait(CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < MaxWait)
        {
            cancellationToken.ThrowIfCancellationRequested();
            TimeSpan before = Environment.CpuUsage.TotalTime;
            Thread.Sleep(Window);
            if (Environment.CpuUsage.TotalTime - before < Window / 10)
            {
                return;
            }
        }

        throw new BenchException($"Threads of this process are still busy {MaxWait.TotalSeconds:F0} s after the last run.");
    }
}
