using System.Diagnostics;

namespace StellaInterop.Bench.Measuring;

/// <summary>
/// Waits until this process does nothing. Thread teams go on spinning for a while after a run (those of ONNX Runtime for
/// 25 to 30 ms), and would take the cores from the engine that is measured next.
/// </summary>
internal static class QuietMachine
{
    private static readonly TimeSpan Window = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <exception cref="BenchException">Something of this process never stops: what would be measured is not the engine alone.</exception>
    public static void Wait(CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < Patience)
        {
            cancellationToken.ThrowIfCancellationRequested();
            TimeSpan before = Environment.CpuUsage.TotalTime;
            Thread.Sleep(Window);
            if (Environment.CpuUsage.TotalTime - before < Window / 10)
            {
                return;
            }
        }

        throw new BenchException($"threads of this process still compute {Patience.TotalSeconds:F0} s after the last run");
    }
}
