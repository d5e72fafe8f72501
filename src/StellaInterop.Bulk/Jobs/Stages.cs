using System.Runtime.ExceptionServices;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Runs the stages of a pipeline. The first that fails stops the others.</summary>
internal static class Stages
{
    /// <param name="cancellationToken">A token that stops all stages.</param>
    /// <param name="stages">The stages.</param>
    /// <exception cref="Exception">The error of the first stage that failed.</exception>
    public static async Task RunAsync(CancellationToken cancellationToken, params Func<CancellationToken, Task>[] stages)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Exception? first = null;
        await Task.WhenAll(stages.Select(stage => Task.Run(() => RunAsync(stage), CancellationToken.None))).ConfigureAwait(false);
        if (first is not null)
        {
            cancellationToken.ThrowIfCancellationRequested();
            ExceptionDispatchInfo.Throw(first);
        }

        async Task RunAsync(Func<CancellationToken, Task> stage)
        {
            try
            {
                await stage(stop.Token).ConfigureAwait(false);
            }
#pragma warning disable CA1031 // Any error ends the pipeline, and is thrown at its end.
            catch (Exception e)
#pragma warning restore CA1031
            {
                _ = Interlocked.CompareExchange(ref first, e, null);
                await stop.CancelAsync().ConfigureAwait(false);
            }
        }
    }
}
