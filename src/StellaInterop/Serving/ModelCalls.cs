using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>
/// Runs calls that need the model of a pool and not its workers: token counts, hidden states, parts of a text. Each runs on the path of its
/// caller. Thread-safe.
/// </summary>
internal sealed class ModelCalls(ModelHost host, OpenCalls calls)
{
    /// <summary>Limits the calls that run at once to half of the processors: the workers compute at the same time.</summary>
    private readonly Slots slots = new(Math.Max(1, Environment.ProcessorCount / 2));

    /// <summary>Runs work on the model. The model is loaded if necessary, and stays loaded until the end of the work.</summary>
    /// <exception cref="StellaPoolClosedException">The pool is draining.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public async Task<T> RunAsync<T>(Func<IPoolModel, T> work, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        using IDisposable call = calls.EnterForModel();
        using ModelUse use = host.Use();
        IPoolModel model = await LoadedAsync(use, cancellationToken).ConfigureAwait(false);
        await slots.EnterAsync().ConfigureAwait(false);
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
