using System.Diagnostics;
using StellaInterop.Bulk.Jobs;

namespace StellaInterop.Scale.Workers;

/// <summary>Waits as long as a model would compute. Like a model, it has one block in hand at a time and others wait.</summary>
/// <param name="workTime">The mean time of a block.</param>
/// <param name="random">Varies the times.</param>
/// <param name="life">Receives the times of the work.</param>
#pragma warning disable CA1001 // A semaphore without a wait handle has nothing to free.
internal sealed class SimulatedEmbedder(TimeSpan workTime, Random random, WorkerLife life) : IEmbedder
#pragma warning restore CA1001
{
    private const int Dimension = 4;

    /// <summary>The largest difference from the mean time, as a share of it.</summary>
    private const double Jitter = 0.2;

    private readonly SemaphoreSlim turn = new(1);

    /// <summary>Gets the properties of the model.</summary>
    public static EmbedderInfo Info { get; } = new([Dimension], 512, StellaPrecision.Float32, ["simulated"]);

    public Task<EmbedderInfo> OpenAsync(CancellationToken cancellationToken) => Task.FromResult(Info);

    public async Task EmbedAsync(TextBlock block, CancellationToken cancellationToken)
    {
        await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        long start = Stopwatch.GetTimestamp();
        bool isDone = false;
        try
        {
            double factor = 1 + (Jitter * ((2 * random.NextDouble()) - 1));
            await Task.Delay(workTime * factor, cancellationToken).ConfigureAwait(false);
            for (int i = 0; i < block.Texts.Length; i++)
            {
                block.Vectors[0].AsSpan(i * Dimension, Dimension).Fill(block.Texts[i].Length);
                block.TokenCounts[i] = new StellaTokenCount { Kept = block.Texts[i].Length, Total = block.Texts[i].Length };
            }

            isDone = true;
        }
        finally
        {
            life.Worked(new WorkInterval(start, Stopwatch.GetTimestamp(), isDone));
            _ = turn.Release();
        }
    }
}
