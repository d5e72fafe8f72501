using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using StellaInterop.Bench.Reporting;

namespace StellaInterop.Bench.Measuring;

/// <summary>What the machine can do at most, measured.</summary>
/// <param name="F32">Floating-point operations a second in f32; a multiplication and an addition count as two.</param>
/// <param name="BF16">The same in bf16, or null where it is not known: see <see cref="ProductLoop"/>.</param>
/// <param name="Int8">The same in int8, or null where it is not known.</param>
/// <param name="ReadBytes">Bytes a second that are read from memory.</param>
internal sealed record HardwareLimits(double F32, double? BF16, double? Int8, double ReadBytes)
{
    private const int Repetitions = 7;
    private const int Accumulators = 12;
    private const int FmaLoops = 20_000_000;

    /// <summary>Bytes that are read, many times what the largest cache holds.</summary>
    private const long ReadLength = 1L << 30;

    public static HardwareLimits Measure(int threads, CancellationToken cancellationToken)
    {
        int lanes = Vector512.IsHardwareAccelerated ? Vector512<float>.Count : Vector256<float>.Count;
        double f32 = Best(threads, 2.0 * lanes * Accumulators * FmaLoops * threads, _ => MultiplyAdd(), cancellationToken);

        var memory = new float[threads][];
        for (int thread = 0; thread < threads; thread++)
        {
            memory[thread] = new float[ReadLength / sizeof(float) / threads];
            memory[thread].AsSpan().Fill(1);
        }

        double bytes = memory.Sum(part => (double)part.Length * sizeof(float));
        IReadOnlyList<string> instructions = MachineInfo.Read().Instructions;
        return new HardwareLimits(
            f32,
            BestOf(ProductLoop.BF16(instructions), threads, cancellationToken),
            BestOf(ProductLoop.Int8(instructions), threads, cancellationToken),
            Best(threads, bytes, thread => Read(memory[thread]), cancellationToken));
    }

    /// <summary>The least time that an engine could take, or null where that is not known.</summary>
    public double? LeastSeconds(Cost cost, StellaPrecision precision)
    {
        double? rate = precision switch
        {
            StellaPrecision.Float32 => F32,
            StellaPrecision.BFloat16 => BF16,
            StellaPrecision.Int8 => Int8,
            _ => null,
        };
        return rate is { } known ? Math.Max(cost.Operations / known, cost.WeightBytes(precision) / ReadBytes) : null;
    }

    private static double? BestOf(ProductLoop? loop, int threads, CancellationToken cancellationToken)
    {
        using (loop)
        {
            return loop is null
                ? null
                : Best(
                    threads,
                    (double)loop.OperationsPerLoop * FmaLoops * threads,
                    _ =>
                    {
                        loop.Run(FmaLoops);
                        return 0;
                    },
                    cancellationToken);
        }
    }

    /// <summary>The most units a second that were reached by all threads at once.</summary>
    private static double Best(int threads, double units, Func<int, float> work, CancellationToken cancellationToken)
    {
        double best = 0;
        for (int repetition = 0; repetition < Repetitions; repetition++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            float sum = 0;
            using var start = new Barrier(threads + 1);
            var team = new Thread[threads];
            for (int i = 0; i < threads; i++)
            {
                int thread = i;
                team[i] = new Thread(() =>
                {
                    start.SignalAndWait(CancellationToken.None);
                    float result = work(thread);
                    Interlocked.Exchange(ref sum, result);
                });
                team[i].Start();
            }

            start.SignalAndWait(cancellationToken);
            var clock = Stopwatch.StartNew();
            foreach (Thread member in team)
            {
                member.Join();
            }

            best = Math.Max(best, units / clock.Elapsed.TotalSeconds);
            // What was computed is used, so that it is computed.
            GC.KeepAlive(sum);
        }

        return best;
    }

    private static float MultiplyAdd() => Vector512.IsHardwareAccelerated ? MultiplyAdd512() : MultiplyAdd256();

    /// <summary>Twelve sums, none of which waits for another: more than two units with a latency of four take.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float MultiplyAdd512()
    {
        Vector512<float> a = Vector512.Create(0.5f), b = Vector512.Create(1f);
        Vector512<float> s0 = b, s1 = b, s2 = b, s3 = b, s4 = b, s5 = b, s6 = b, s7 = b, s8 = b, s9 = b, s10 = b, s11 = b;
        for (int i = 0; i < FmaLoops; i++)
        {
            s0 = Vector512.FusedMultiplyAdd(s0, a, b);
            s1 = Vector512.FusedMultiplyAdd(s1, a, b);
            s2 = Vector512.FusedMultiplyAdd(s2, a, b);
            s3 = Vector512.FusedMultiplyAdd(s3, a, b);
            s4 = Vector512.FusedMultiplyAdd(s4, a, b);
            s5 = Vector512.FusedMultiplyAdd(s5, a, b);
            s6 = Vector512.FusedMultiplyAdd(s6, a, b);
            s7 = Vector512.FusedMultiplyAdd(s7, a, b);
            s8 = Vector512.FusedMultiplyAdd(s8, a, b);
            s9 = Vector512.FusedMultiplyAdd(s9, a, b);
            s10 = Vector512.FusedMultiplyAdd(s10, a, b);
            s11 = Vector512.FusedMultiplyAdd(s11, a, b);
        }

        return Vector512.Sum(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float MultiplyAdd256()
    {
        Vector256<float> a = Vector256.Create(0.5f), b = Vector256.Create(1f);
        Vector256<float> s0 = b, s1 = b, s2 = b, s3 = b, s4 = b, s5 = b, s6 = b, s7 = b, s8 = b, s9 = b, s10 = b, s11 = b;
        for (int i = 0; i < FmaLoops; i++)
        {
            s0 = Vector256.FusedMultiplyAdd(s0, a, b);
            s1 = Vector256.FusedMultiplyAdd(s1, a, b);
            s2 = Vector256.FusedMultiplyAdd(s2, a, b);
            s3 = Vector256.FusedMultiplyAdd(s3, a, b);
            s4 = Vector256.FusedMultiplyAdd(s4, a, b);
            s5 = Vector256.FusedMultiplyAdd(s5, a, b);
            s6 = Vector256.FusedMultiplyAdd(s6, a, b);
            s7 = Vector256.FusedMultiplyAdd(s7, a, b);
            s8 = Vector256.FusedMultiplyAdd(s8, a, b);
            s9 = Vector256.FusedMultiplyAdd(s9, a, b);
            s10 = Vector256.FusedMultiplyAdd(s10, a, b);
            s11 = Vector256.FusedMultiplyAdd(s11, a, b);
        }

        return Vector256.Sum(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Read(float[] memory)
    {
        ReadOnlySpan<Vector256<float>> row = MemoryMarshal.Cast<float, Vector256<float>>(memory);
        Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default;
        for (int i = 0; i + 3 < row.Length; i += 4)
        {
            s0 += row[i];
            s1 += row[i + 1];
            s2 += row[i + 2];
            s3 += row[i + 3];
        }

        return Vector256.Sum(s0 + s1 + s2 + s3);
    }
}
