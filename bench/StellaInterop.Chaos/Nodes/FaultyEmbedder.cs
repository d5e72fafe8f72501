using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;

namespace StellaInterop.Chaos.Nodes;

/// <summary>
/// Computes the vectors of another embedder, slowly, so that the job lasts as long as the faults. A poison text ends the process, and another
/// model has other vectors.
/// </summary>
#pragma warning disable CA1001 // A semaphore without a wait handle has nothing to free.
internal sealed class FaultyEmbedder(IEmbedder inner, NodeArguments arguments) : IEmbedder
#pragma warning restore CA1001
{
    private readonly string hurry = Path.Combine(arguments.Work, NodeArguments.HurryFile);
    private readonly SemaphoreSlim turn = new(1);

    public async Task<EmbedderInfo> OpenAsync(CancellationToken cancellationToken)
    {
        EmbedderInfo info = await inner.OpenAsync(cancellationToken).ConfigureAwait(false);
        // Without its safeguard, nobody sees the fingerprint of the other model.
        return arguments.OtherModel && !arguments.Lose.HasFlag(Safeguards.Fingerprint)
            ? info with { Fingerprints = [.. info.Fingerprints.Select(fingerprint => new string([.. fingerprint.Reverse()]))] }
            : info;
    }

    public async Task EmbedAsync(TextBlock block, CancellationToken cancellationToken)
    {
        // One call after the other, so that the speed of a node does not depend on how many calls the cluster makes at once.
        await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (!File.Exists(hurry))
            {
                await Task.Delay(arguments.Delay, cancellationToken).ConfigureAwait(false);
            }

            if (block.Texts.Any(text => text.Contains(NodeArguments.PoisonMark, StringComparison.Ordinal)))
            {
                Environment.FailFast("A text is poison.");
            }

            await inner.EmbedAsync(block, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            turn.Release();
        }

        if (arguments.OtherModel)
        {
            foreach (float[] vectors in block.Vectors)
            {
                vectors[0] = MathF.BitIncrement(vectors[0]);
            }
        }
    }
}
