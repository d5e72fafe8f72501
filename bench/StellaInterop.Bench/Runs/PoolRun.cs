using System.Buffers;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bulk.Jobs;

namespace StellaInterop.Bench.Runs;

/// <summary>Embeds texts from memory with a pool, for comparison with a bulk job over the same texts.</summary>
internal static class PoolRun
{
    /// <summary>Name of the hidden command that measures in a new process.</summary>
    public const string CommandName = "pool";

    /// <summary>Enough calls that the workers always have work.</summary>
    private const int CallsAtOnce = 8;

    /// <summary>A call that waits for room must have a time limit.</summary>
    private static readonly StellaCallOptions CallOptions = new()
    {
        Priority = StellaPriority.Bulk,
        QueueFullMode = StellaQueueFullMode.Wait,
        Timeout = TimeSpan.FromHours(12),
    };

    /// <summary>Embeds the texts in this process, and prints the events of <see cref="EventProcess"/>.</summary>
    public static async Task RunAsync(string folder, int rows, WordRange words, TextWriter output, CancellationToken cancellationToken)
    {
        string[] texts = [.. new RandomTexts(folder, words).Take(rows)];
        var tokenCounts = new StellaTokenCount[rows];
        var pool = new StellaEmbeddingPool(folder);
        await using (pool.ConfigureAwait(false))
        {
            StellaModelInfo info = await pool.WarmUpAsync(cancellationToken).ConfigureAwait(false);
            await output.WriteLineAsync("""{"event":"embedding"}""").ConfigureAwait(false);
            await Parallel.ForEachAsync(
                Calls(texts),
                new ParallelOptions { MaxDegreeOfParallelism = CallsAtOnce, CancellationToken = cancellationToken },
                async (call, stop) =>
                {
                    (int begin, int count) = call.GetOffsetAndLength(rows);
                    int length = count * info.DefaultDimension;
                    float[] vectors = ArrayPool<float>.Shared.Rent(length);
                    _ = await pool.EmbedAsync(
                        texts.AsMemory(call), vectors.AsMemory(0, length), tokenCounts.AsMemory(begin, count), options: null, CallOptions, stop).ConfigureAwait(false);
                    ArrayPool<float>.Shared.Return(vectors);
                }).ConfigureAwait(false);
            long tokens = tokenCounts.Sum(count => (long)count.Kept);
            await output.WriteLineAsync(string.Create(System.Globalization.CultureInfo.InvariantCulture, $$"""{"event":"end","tokens":{{tokens}}}""")).ConfigureAwait(false);
        }
    }

    /// <summary>Cuts the texts into the calls of a bulk job.</summary>
    private static IEnumerable<Range> Calls(string[] texts)
    {
        for (int begin = 0, end; begin < texts.Length; begin = end)
        {
            end = PoolEmbedder.EndOfCall(texts, begin, PoolEmbedder.UsualCallLength);
            yield return begin..end;
        }
    }
}
