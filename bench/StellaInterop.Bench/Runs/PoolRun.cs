using System.Buffers;
using System.Diagnostics;
using System.Text.Json;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Runs;

/// <summary>Embeds texts from memory with a pool in a process of its own, for comparison with a bulk job over the same texts.</summary>
internal static class PoolRun
{
    /// <summary>Name of the hidden command that measures in the new process.</summary>
    public const string CommandName = "pool";

    /// <summary>The characters of a call, at which it ends: about four batches of a pool with the default options.</summary>
    private const int CallLength = 8192;

    /// <summary>A call that waits for room must have a time limit.</summary>
    private static readonly TimeSpan LongestCall = TimeSpan.FromHours(1);

    /// <summary>Enough calls that the workers always have work.</summary>
    private const int CallsAtOnce = 8;

    /// <summary>Runs the hidden command in a new process.</summary>
    /// <exception cref="BenchException">The process failed.</exception>
    public static PoolCost RunInNewProcess(string folder, int rows, WordRange words, CancellationToken cancellationToken)
    {
        string output = OwnProcess.Run(CommandName, [folder, $"{rows}", $"{words}"], "The pool", cancellationToken);
        return JsonSerializer.Deserialize<PoolCost>(output);
    }

    /// <summary>Embeds the texts in this process.</summary>
    public static async Task<PoolCost> MeasureAsync(string folder, int rows, WordRange words, CancellationToken cancellationToken)
    {
        string[] texts = [.. new RandomTexts(folder, words).Take(rows)];
        var callOptions = new StellaCallOptions { Priority = StellaPriority.Bulk, QueueFullMode = StellaQueueFullMode.Wait, Timeout = LongestCall };
        var pool = new StellaEmbeddingPool(folder);
        await using (pool.ConfigureAwait(false))
        {
            StellaModelInfo info = await pool.WarmUpAsync(cancellationToken).ConfigureAwait(false);
            TimeSpan processor = Environment.CpuUsage.TotalTime;
            var clock = Stopwatch.StartNew();
            await Parallel.ForEachAsync(
                Calls(texts),
                new ParallelOptions { MaxDegreeOfParallelism = CallsAtOnce, CancellationToken = cancellationToken },
                async (call, stop) =>
                {
                    int length = call.Length * info.DefaultDimension;
                    float[] vectors = ArrayPool<float>.Shared.Rent(length);
                    _ = await pool.EmbedAsync(call, vectors.AsMemory(0, length), callOptions: callOptions, cancellationToken: stop).ConfigureAwait(false);
                    ArrayPool<float>.Shared.Return(vectors);
                }).ConfigureAwait(false);
            return new PoolCost(clock.Elapsed.TotalSeconds, (Environment.CpuUsage.TotalTime - processor).TotalSeconds);
        }
    }

    private static IEnumerable<ReadOnlyMemory<string>> Calls(string[] texts)
    {
        for (int begin = 0, end = 0; begin < texts.Length; begin = end)
        {
            for (int length = 0; end < texts.Length && length < CallLength; end++)
            {
                length += texts[end].Length;
            }

            yield return texts.AsMemory(begin..end);
        }
    }
}
