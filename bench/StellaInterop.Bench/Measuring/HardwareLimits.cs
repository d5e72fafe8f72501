using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace StellaInterop.Bench.Measuring;

/// <summary>The measured limits of the machine.</summary>
/// <param name="F32">Floating-point operations per second in f32. A multiplication and an addition count as two.</param>
/// <param name="BF16">The same in bf16; null if unknown (see <see cref="DotProductLoop"/>).</param>
/// <param name="Int8">The same in int8; null if unknown.</param>
/// <param name="ReadBytes">Bytes per second when reading memory.</param>
internal sealed record HardwareLimits(double F32, double? BF16, double? Int8, double ReadBytes)
{
    private const int Repetitions = 7;
    private const int Accumulators = 12;
    private const int FmaLoops = 20_000_000;

    /// <summary>Number of bytes to read: many times the size of the largest cache.</summary>
    private const long ReadLength = 1L << 30;

    public static HardwareLimits Measure(int threads, CancellationToken cancellationToken)
    {
        int lanes = Vector512.IsHardwareAccelerated ? Vector512<float>.Count : Vector256<float>.Count;
        double f32 = MaxRate(threads, 2.0 * lanes * Accumulators * FmaLoops * threads, _ => MultiplyAdd(), cancellationToken);

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
            MaxRateOf(DotProductLoop.BF16(instructions), threads, cancellationToken),
            MaxRateOf(DotProductLoop.Int8(instructions), threads, cancellationToken),
            MaxRate(threads, bytes, thread => Read(memory[thread]), cancellationToken));
    }

    /// <summary>Returns the shortest time that an engine could take; null if the rate of the precision is unknown.</summary>
    public double? MinSeconds(Cost cost, StellaPrecision precision)
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

    private static double? MaxRateOf(DotProductLoop? loop, int threads, CancellationToken cancellationToken)
    {
        using (loop)
        {
            return loop is null
                ? null
                : MaxRate(
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

    /// <summary>Returns the highest rate, in units per second, of all threads together.</summary>
    private static double MaxRate(int threads, double units, Func<int, float> work, CancellationToken cancellationToken)
    {
        double highest = 0;
        for (int repetition = 0; repetition < Repetitions; repetition++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            float sum = 0;
            using var start = new Barrier(threads + 1);
            var workers = new Thread[threads];
            for (int i = 0; i < threads; i++)
            {
                int thread = i;
                workers[i] = new Thread(() =>
                {
                    start.SignalAndWait(CancellationToken.None);
                    float result = work(thread);
                    Interlocked.Exchange(ref sum, result);
                });
                workers[i].Start();
            }

            start.SignalAndWait(cancellationToken);
            var clock = Stopwatch.StartNew();
            foreach (Thread worker in workers)
            {
                worker.Join();
            }

            highest = Math.Max(highest, units / clock.Elapsed.TotalSeconds);
            // Using the result keeps the compiler from removing the computation.
            GC.KeepAlive(sum);
        }

        return highest;
    }

    private static float MultiplyAdd() => Vector512.IsHardwareAccelerated ? MultiplyAdd512() : MultiplyAdd256();

    /// <summary>Adds into twelve independent accumulators. Two FMA units with a latency of four cycles need at least eight.</summary>
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
