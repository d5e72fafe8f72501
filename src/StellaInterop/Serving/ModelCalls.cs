using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>
/// Runs calls that need the model of a pool and not its workers: token counts, hidden states, parts of a text. Each runs on the path of its
/// caller. Thread-safe.
/// </summary>
/// <param name="host">The model of the pool.</param>
/// <param name="calls">The calls of the pool.</param>
/// <param name="maxCalls">The largest number of calls that run or wait. Each holds its texts, so their number must have a bound.</param>
internal sealed class ModelCalls(ModelHost host, OpenCalls calls, int maxCalls)
{
    /// <summary>The time after which a refused call should try again. The calls before it are of any length, so there is no better estimate.</summary>
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    /// <summary>Limits the calls that run at once to half of the processors: the workers compute at the same time.</summary>
    private readonly Slots slots = new(Math.Max(1, Environment.ProcessorCount / 2));

    /// <summary>The calls that run or wait, for the model to be loaded or for a slot.</summary>
    private int open;

    /// <summary>Runs work on the model. The model is loaded if necessary, and stays loaded until the end of the work.</summary>
    /// <exception cref="StellaOverloadedException">Too many calls wait already.</exception>
    /// <exception cref="StellaPoolClosedException">The pool is draining.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public async Task<T> RunAsync<T>(Func<IPoolModel, T> work, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        using IDisposable call = calls.EnterForModel();
        int count = Interlocked.Increment(ref open);
        try
        {
            return count <= maxCalls
                ? await RunInTurnAsync(work, cancellationToken).ConfigureAwait(false)
                : throw new StellaOverloadedException(count - 1, maxCalls, RetryAfter);
        }
        finally
        {
            _ = Interlocked.Decrement(ref open);
        }
    }

    private async Task<T> RunInTurnAsync<T>(Func<IPoolModel, T> work, CancellationToken cancellationToken)
    {
        using ModelUse use = host.Use();
        IPoolModel model = await LoadedAsync(use, cancellationToken).ConfigureAwait(false);
        await slots.EnterAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            return work(model);
        }
        finally
        {
            slots.Leave();
        }
    }

    private static async Task<IPoolModel> LoadedAsync(ModelUse use, CancellationToken cancellationToken)
    {
        Task<LoadedModel?> loaded = use.LoadedAsync();
        if (!loaded.IsCompleted)
        {
            var cancelled = new Signal();
            using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(
                static signal => ((Signal)signal!).Set(), cancelled);
            if (await Task.WhenAny(loaded, cancelled.WaitAsync()).ConfigureAwait(false) != loaded)
            {
                throw new OperationCanceledException(cancellationToken);
            }
        }

        return (await loaded.ConfigureAwait(false))!.Model;
    }
}
